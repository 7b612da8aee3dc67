"""Sweep once for lost runs, as the scheduler makes the worker do every minute."""

from typing import Any

from django.core.management.base import BaseCommand

from validibot.runs.reconcile import reconcile_all


class Command(BaseCommand):
    help = "Look for runs and executions that were lost, and go on with them."

    def handle(self, *args: Any, **options: Any) -> None:
        touched = reconcile_all()
        self.stdout.write(
            f"{touched['enqueued']} runs enqueued, {touched['looked_at']} executions looked at"
        )
