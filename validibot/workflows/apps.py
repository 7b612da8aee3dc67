"""App configuration."""

from django.apps import AppConfig


class WorkflowsConfig(AppConfig):
    name = "validibot.workflows"
