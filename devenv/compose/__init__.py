"""The stack of docker-compose.local.yml: what its containers run, and how it is seen from outside."""
