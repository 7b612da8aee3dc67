"""Forwarding of HTTP requests to local servers, and of their answers back."""
