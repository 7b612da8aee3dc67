"""App configuration."""

from django.apps import AppConfig


class SetupConfig(AppConfig):
    name = "validibot.setup"
