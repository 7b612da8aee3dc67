"""Interception of unmodified Google clients: proxy, local CA, host routing."""
