"""Command line of the developer environment; `commands` declares it, one module per command does it."""
