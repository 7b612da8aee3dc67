"""The queue's door: runs the task that a delivery names, and says whether to deliver it again."""

import json
import logging
import re
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import InterfaceError, OperationalError
from django.tasks import (
    Task,
    TaskContext,
    TaskResult,
    TaskResultStatus,
    default_task_backend,
)
from django.utils import timezone
from django.utils.module_loading import import_string

from validibot.dispatch import TryLater

_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){2,9}")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the queue hands over; `number` counts from 0."""

    body: bytes
    task_id: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The HTTP status for the queue: 2xx is done, anything else comes again."""

    status: int
    message: str
    # What an operator may know beyond the message; a queue outside is not told.
    error: str = ""

    @property
    def done(self) -> bool:
        return 200 <= self.status < 300


class Malformed(Exception):
    """The delivery can never be done, however often it comes."""


class UnknownTask(Exception):
    """There is no such task here; a worker of another version may know it."""


def deliverer() -> str:
    """Return the account as which the queue calls; empty where no queue calls by HTTP."""
    return str(getattr(default_task_backend, "service_account", ""))


def deliver(delivery: Delivery) -> Outcome:
    """Run the task of a delivery."""
    try:
        task, args, kwargs = _parse(delivery.body)
    except Malformed as error:
        logger.warning("delivery %s is dropped: %s", delivery.task_id, error)
        return Outcome(200, f"dropped: {error}")
    except UnknownTask as error:
        logger.warning("delivery %s: %s", delivery.task_id, error)
        return Outcome(404, str(error))
    if task.takes_context:
        args = [TaskContext(task_result=_result(task, args, kwargs, delivery)), *args]
    return _call(task, args, kwargs)


def _call(task: Task[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Outcome:
    try:
        task.call(*args, **kwargs)
    except TryLater as error:
        return Outcome(409, str(error))
    except (InterfaceError, OperationalError) as error:
        logger.warning("task %s: the database cannot be reached: %s", task.module_path, error)
        return Outcome(503, "The database cannot be reached.")
    except Exception as error:
        logger.exception("task %s failed", task.module_path)
        return Outcome(500, "The task failed.", f"{type(error).__name__}: {error}")
    return Outcome(200, "done")


def find_task(path: str) -> Task[..., Any] | None:
    """Return the task at a dotted path inside our own apps, and nothing else."""
    product = __name__.partition(".")[0]
    ours = {config.name for config in apps.get_app_configs() if config.name.startswith(product)}
    if not _PATH.fullmatch(path) or ".".join(path.split(".")[:2]) not in ours:
        return None
    try:
        found = import_string(path)
    except ImportError:
        return None
    return found if isinstance(found, Task) else None


def _parse(body: bytes) -> tuple[Task[..., Any], list[Any], dict[str, Any]]:
    try:
        call = json.loads(body)
        path, args, kwargs = call["task"], call["args"], call["kwargs"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise Malformed(f"This is no delivery: {error!r}"[:300]) from None
    if not isinstance(path, str) or not isinstance(args, list) or not isinstance(kwargs, dict):
        raise Malformed("This is no delivery: task, args and kwargs have the wrong types.")
    task = find_task(path)
    if task is None:
        raise UnknownTask(f"There is no task {path[:200]!r}.")
    return task, args, kwargs


def _result(
    task: Task[..., Any], args: list[Any], kwargs: dict[str, Any], delivery: Delivery
) -> TaskResult[..., Any]:
    now = timezone.now()
    return TaskResult(
        task=task,
        id=delivery.task_id,
        status=TaskResultStatus.RUNNING,
        enqueued_at=None,
        started_at=now,
        finished_at=None,
        last_attempted_at=now,
        args=args,
        kwargs=kwargs,
        backend=task.backend,
        errors=[],
        worker_ids=["queue"] * (delivery.number + 1),
    )
