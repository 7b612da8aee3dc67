"""Base class of the queue backends, and enqueueing a task at most once.

A queue delivers every task at least once, so two entries for one run are harmless but wasteful. Code
that cannot know whether an entry exists (the sweep) enqueues with a key: both backends refuse a
second entry with the same key while the first one waits. Cloud Tasks does so by the task's name,
and refuses a name for up to a day after its task has been delivered; the database queue does so
with procrastinate's `queueing_lock`, and releases the key when a worker fetches the task. A key must
therefore name a piece of work with its progress, not only its object: `execute-<run>-<moment>`, where
the moment is that at which the run became ready for a worker.
"""

from __future__ import annotations  # Task is generic for type checkers only

import re
from typing import Any

from django.tasks import Task, TaskResult, TaskResultStatus
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.signals import task_enqueued
from django.utils import timezone

_KEY = re.compile(r"[A-Za-z0-9_-]{1,400}")


class QueueBackend(BaseTaskBackend):
    """A `TASKS` backend whose entries carry a task's path and arguments to a worker."""

    supports_defer = True
    # A task becomes a dead letter when this attempt fails.
    max_attempts = 30

    def enqueue[**P, R](
        self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any]
    ) -> TaskResult[P, R]:
        self.validate_task(task)
        task_id = self.add(task, args, kwargs, key="")
        assert task_id, "an entry without a key is always added"
        result = self._ready(task, args, kwargs, task_id=task_id)
        task_enqueued.send(type(self), task_result=result)
        return result

    def enqueue_once[**P, R](
        self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any], *, key: str
    ) -> TaskResult[P, R] | None:
        """Enqueue a task; return None if the queue has an entry with this key already."""
        self.validate_task(task)
        if not _KEY.fullmatch(key):
            raise ValueError(f"Key {key!r}: use 1 to 400 letters, digits, hyphens or underscores.")
        task_id = self.add(task, args, kwargs, key=key)
        if not task_id:
            return None
        result = self._ready(task, args, kwargs, task_id=task_id)
        task_enqueued.send(type(self), task_result=result)
        return result

    def add(
        self, task: Task[..., Any], args: list[Any], kwargs: dict[str, Any], *, key: str
    ) -> str:
        """Store an entry and return its id; return "" if one with the same key exists."""
        raise NotImplementedError

    def _ready[**P, R](
        self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any], *, task_id: str
    ) -> TaskResult[P, R]:
        return TaskResult(
            task=task,
            id=task_id,
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=list(args),
            kwargs=dict(kwargs),
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )


def as_call(task: Task[..., Any], args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a queue entry, as `validibot.dispatch.delivery` reads it."""
    return {"task": task.module_path, "args": list(args), "kwargs": dict(kwargs)}


def enqueue_once(task: Task[..., Any], *args: Any, key: str, **kwargs: Any) -> bool:
    """Enqueue a task unless the queue has an entry with this key; return whether it was added.

    A backend without a queue (Django's ImmediateBackend) runs the task and adds nothing twice.
    """
    backend = task.get_backend()
    if isinstance(backend, QueueBackend):
        return backend.enqueue_once(task, list(args), kwargs, key=key) is not None
    task.enqueue(*args, **kwargs)
    return True
