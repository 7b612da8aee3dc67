"""Common ground without a domain: problems, storage, tokens, logging, health."""
