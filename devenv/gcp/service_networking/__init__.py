"""Service Networking v1: the private connection of a network with Google's services."""
