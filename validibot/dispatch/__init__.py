"""How work leaves a request: the queue and its door."""
