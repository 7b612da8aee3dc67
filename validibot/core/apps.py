"""App configuration."""

from django.apps import AppConfig
from django.urls import register_converter

from validibot.core.paths import IdentConverter, VersionConverter


class CoreConfig(AppConfig):
    name = "validibot.core"

    def ready(self) -> None:
        register_converter(IdentConverter, "ident")
        register_converter(VersionConverter, "version")
