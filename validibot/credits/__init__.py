"""Credits of organisations: prices of steps, the balance, and the ledger of all that changed it."""
