"""Compute Engine v1, as far as networks go: networks, subnetworks, addresses and their operations.

After https://cloud.google.com/compute/docs/reference/rest/v1. Nothing is sent through a network: other
services look here whether the one that they are given exists.
"""
