"""SHACL validator."""
