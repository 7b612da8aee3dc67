"""Foreign programs that the tests run against ours, written from their published contracts."""
