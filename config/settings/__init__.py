"""One module per deployment."""
