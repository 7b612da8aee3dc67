"""The Validibot product: workflows, runs and their findings."""
