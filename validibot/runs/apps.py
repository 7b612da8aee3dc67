"""App configuration."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "validibot.runs"
