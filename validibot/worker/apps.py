"""App configuration."""

from django.apps import AppConfig


class WorkerConfig(AppConfig):
    name = "validibot.worker"
