"""App configuration."""

from django.apps import AppConfig


class NotifyConfig(AppConfig):
    name = "validibot.notify"
