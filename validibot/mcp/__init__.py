"""The Model Context Protocol endpoint: workflows, runs and findings as tools of an assistant."""
