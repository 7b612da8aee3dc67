"""What knows no domain: problems, storage, tokens, logging, health."""
