"""A local developer environment with an emulated Google Cloud; it knows nothing of any product."""
