"""Schematron validator."""
