"""App configuration, and the converters of paths that every URL configuration may use."""

from django.apps import AppConfig
from django.urls import register_converter


class IdentConverter:
    """A slug, a number or a UUID; anything else is an unknown path, not a database query."""

    regex = r"[-\w.]{1,100}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class VersionConverter:
    """The number of a version in a path: from 1 to what a database column holds."""

    regex = "[1-9][0-9]{0,8}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


class CoreConfig(AppConfig):
    name = "validibot.core"

    def ready(self) -> None:
        register_converter(IdentConverter, "ident")
        register_converter(VersionConverter, "version")
