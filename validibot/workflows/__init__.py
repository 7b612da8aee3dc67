"""Workflows, their steps and rules, and the catalogue of validators."""
