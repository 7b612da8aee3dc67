"""App configuration."""

from django.apps import AppConfig


class SubmissionsConfig(AppConfig):
    name = "validibot.submissions"
