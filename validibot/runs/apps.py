"""App configuration: connects what launching sets off to those who deal with it."""

from django.apps import AppConfig
from django.core.checks import register


class RunsConfig(AppConfig):
    name = "validibot.runs"

    def ready(self) -> None:
        # Models may be imported only now.
        from validibot.runs import callback, cancel, checks, reconcile  # noqa: PLC0415
        from validibot.runs.launch import signals  # noqa: PLC0415

        signals.called_back.connect(callback.on_called_back)
        signals.attempt_launched.connect(reconcile.on_launched)
        signals.attempt_ended.connect(reconcile.on_ended)
        signals.attempt_overdue.connect(reconcile.on_overdue)
        signals.run_unwanted.connect(cancel.on_unwanted)
        register(checks.check_backends)
        register(checks.check_isolation, deploy=True)
