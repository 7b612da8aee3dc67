"""Service accounts: their keys and tokens, the endpoints that issue them and those that verify them."""
