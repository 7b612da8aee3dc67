"""The tasks that wait, run or are dead: procrastinate's rows, read as ours."""

import json
from typing import Any, ClassVar

from django.db import models
from procrastinate.contrib.django.models import ProcrastinateJob


class QueuedTask(ProcrastinateJob):
    """A row of the queue. What succeeded is deleted; what failed too often stays and is dead."""

    class Meta:
        proxy = True
        ordering = ("pk",)

    # Procrastinate's own manager refuses to change anything.
    objects: ClassVar[models.Manager["QueuedTask"]] = models.Manager()  # type: ignore[assignment]

    WAITING, RUNNING, DEAD = "todo", "doing", "failed"

    def __str__(self) -> str:
        return f"{self.pk}: {self.task}{self.arguments}"

    @property
    def task(self) -> str:
        return str(self.args.get("task", ""))

    @property
    def arguments(self) -> str:
        """Return the call as one would write it."""
        named = (f"{key}={json.dumps(value)}" for key, value in self._part("kwargs", {}).items())
        return f"({', '.join([*map(json.dumps, self._part('args', [])), *named])})"

    @property
    def state(self) -> str:
        return STATES.get(self.status, self.status)

    @property
    def error(self) -> str:
        """Return what went wrong the last time; empty if nothing ever did."""
        return str(self.args.get("error", ""))

    def _part(self, name: str, otherwise: Any) -> Any:
        return self.args.get(name) or otherwise


STATES = {
    QueuedTask.WAITING: "waiting",
    QueuedTask.RUNNING: "running",
    QueuedTask.DEAD: "dead",
}
