"""Ingress of Cloud Run services: *.run.app to a local port, behind the invoker check."""
