"""Service accounts, signing keys, ID and access tokens, and the certificates that verify them."""
