"""The queue's door: find the task that a message names, and call it."""

import json
import logging
import re
from typing import Any

from django.tasks.base import Task, TaskContext, TaskResult, TaskResultStatus
from django.utils import timezone
from django.utils.module_loading import import_string

logger = logging.getLogger(__name__)

# Only what an app of ours declares as a task, never whatever can be imported.
_TASK_PATH = re.compile(r"validibot(\.[a-z_]+){3}")


class BadMessage(Exception):
    """The message can never be done, however often it is delivered."""


def receive(body: bytes, *, name: str, attempt: int) -> None:
    """Do what the message `body` says.

    `name` is the queue's own id of it, `attempt` counts deliveries from 1. Raises BadMessage,
    TryLater, and whatever the task raises.
    """
    task, args, kwargs = _parse(body)
    if task.takes_context:
        context: TaskContext[Any, Any] = TaskContext(
            task_result=_result(task, args, kwargs, name=name, attempt=attempt)
        )
        args = [context, *args]
    task.call(*args, **kwargs)


def _parse(body: bytes) -> tuple[Task[Any, Any], list[Any], dict[str, Any]]:
    try:
        message = json.loads(body)
        path, args, kwargs = message["task"], message["args"], message["kwargs"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadMessage("The message is not {task, args, kwargs} in JSON.") from error
    if not isinstance(path, str) or not isinstance(args, list) or not isinstance(kwargs, dict):
        raise BadMessage("The message is not {task: text, args: list, kwargs: object}.")
    return _find(path), args, kwargs


def _find(path: str) -> Task[Any, Any]:
    if not _TASK_PATH.fullmatch(path):
        raise BadMessage(f"{path[:100]!r} is not the name of a task.")
    try:
        task = import_string(path)
    except ImportError as error:
        raise BadMessage(f"There is no task {path!r}.") from error
    if not isinstance(task, Task):
        raise BadMessage(f"{path!r} is not a task.")
    return task


def _result(
    task: Task[Any, Any], args: list[Any], kwargs: dict[str, Any], *, name: str, attempt: int
) -> TaskResult[Any, Any]:
    now = timezone.now()
    return TaskResult(
        task=task,
        id=name,
        status=TaskResultStatus.RUNNING,
        enqueued_at=None,
        started_at=now,
        finished_at=None,
        last_attempted_at=now,
        args=args,
        kwargs=kwargs,
        backend=task.backend,
        errors=[],
        worker_ids=[""] * attempt,
    )
