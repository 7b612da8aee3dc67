"""App of credits."""

from django.apps import AppConfig


class CreditsConfig(AppConfig):
    """Registers the models of credits."""

    name = "validibot.credits"
