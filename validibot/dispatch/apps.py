"""App configuration."""

from django.apps import AppConfig


class DispatchConfig(AppConfig):
    name = "validibot.dispatch"
