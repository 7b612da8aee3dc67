"""Stand-ins for foreign programs, written from their published contracts."""
