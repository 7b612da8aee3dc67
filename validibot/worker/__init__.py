"""The private API of the worker."""
