"""The life of a run, from the first event to the last."""
