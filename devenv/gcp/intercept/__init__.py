"""Carry unmodified Google clients to this process: CONNECT proxy, local CA, host routing."""
