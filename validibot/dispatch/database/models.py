"""The entries of the database queue: a proxy model of procrastinate's jobs."""

from typing import ClassVar

from django.db import models
from procrastinate.contrib.django.models import ProcrastinateJob

from validibot.dispatch.models import call_text


class QueuedTask(ProcrastinateJob):
    """An entry of the queue, deleted when its task has succeeded or has become a dead letter."""

    WAITING, RUNNING = "todo", "doing"
    STATES: ClassVar = {WAITING: "waiting", RUNNING: "running"}

    class Meta:
        proxy = True
        ordering = ("pk",)

    # Procrastinate's own manager is read-only.
    objects: ClassVar[models.Manager["QueuedTask"]] = models.Manager()  # type: ignore[assignment]

    def __str__(self) -> str:
        return call_text(
            self.args.get("task") or "", self.args.get("args") or [], self.args.get("kwargs") or {}
        )

    @property
    def state(self) -> str:
        return self.STATES.get(self.status, self.status)
