"""Dead letters: tasks that failed too often."""

import json
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone


class DeadLetter(models.Model):
    """A task that failed `max_attempts` times and is not delivered any more.

    `task` is its dotted path, `args` and `kwargs` are its arguments, `error` is the error of its
    last attempt.
    """

    task_id = models.CharField(max_length=500, unique=True)
    task = models.CharField(max_length=300)
    args = models.JSONField(default=list)
    kwargs = models.JSONField(default=dict)
    attempts = models.PositiveIntegerField()
    error = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return call_text(self.task, self.args, self.kwargs)


def call_text(task: str, args: list[Any], kwargs: dict[str, Any]) -> str:
    """Return a call as Python source."""
    named = (f"{key}={json.dumps(value)}" for key, value in kwargs.items())
    return f"{task}({', '.join([*map(json.dumps, args), *named])})"
