"""Validator that simulates a Functional Mock-up Unit (FMI 2 or 3)."""
