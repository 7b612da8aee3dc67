"""The metadata server: one identity per workload."""
