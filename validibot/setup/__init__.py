"""Bring a new deployment to a state in which it can be used."""
