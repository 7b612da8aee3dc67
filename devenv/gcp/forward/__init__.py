"""Requests on their way to another server, and the answers back."""
