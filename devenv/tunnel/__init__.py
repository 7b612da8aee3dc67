"""Real Google Cloud calls a laptop: a tunnel program, and the gate that stands behind it."""
