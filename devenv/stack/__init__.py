"""A process supervisor: it orders, probes, logs, restarts and stops any services, given as data."""
