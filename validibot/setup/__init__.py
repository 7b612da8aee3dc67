"""Setup, demo data, backup and restore of a deployment."""
