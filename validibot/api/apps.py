"""App configuration."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "validibot.api"

    def ready(self) -> None:
        # Importing registers how drf-spectacular describes our authentication.
        from validibot.api import schema  # noqa: F401, PLC0415
