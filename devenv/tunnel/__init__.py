"""Tunnel mode: real Google Cloud calls this machine through a tunnel program and a gate."""
