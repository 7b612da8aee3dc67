"""OpenID Connect provider of a stack: sign-in as anybody, for programs on this machine only."""
