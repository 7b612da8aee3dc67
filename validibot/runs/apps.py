"""App configuration."""

from django.apps import AppConfig
from django.core.checks import register


class RunsConfig(AppConfig):
    name = "validibot.runs"

    def ready(self) -> None:
        # Models may be imported only now.
        from validibot.runs import backends  # noqa: PLC0415

        register(backends.check_backends)
        register(backends.check_isolation, deploy=True)
