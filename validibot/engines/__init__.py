"""Validators that run inside Django, each a pure function."""
