"""Simulates a Functional Mock-up Unit and reports what its outputs came to."""
