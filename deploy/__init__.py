"""Deployment of Validibot to Google Cloud: one stage file in, one project brought in line with it."""
