"""Delivery of queue entries: run the task, and tell the queue whether to deliver it again.

The worker's HTTP endpoint for Cloud Tasks and the process of the database queue both call
`deliver`. A result's status is an HTTP status, as Cloud Tasks needs it: 2xx removes the entry from
the queue, any other status repeats it. When attempt number `max_attempts` of the backend fails, a
dead letter is recorded and the entry is removed. During an outage of the database no dead letter
can be written, so the entry is kept; the limit of the queue itself is higher for that case.
Arguments that do not have the types of the task's parameters, and names that no version of the product
has, are a dead letter at once: a repetition would not help. An unknown task of the product is repeated: during
a release a new `web` enqueues tasks that an old worker does not have yet.
"""

import inspect
import json
import logging
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints

from django.apps import apps
from django.db import DatabaseError, InterfaceError, OperationalError
from django.tasks import (
    Task,
    TaskContext,
    TaskResult,
    TaskResultStatus,
    default_task_backend,
)
from django.utils import timezone
from django.utils.module_loading import import_string
from pydantic import TypeAdapter, ValidationError

from validibot.dispatch import TryLater
from validibot.dispatch.models import DeadLetter
from validibot.engines import EngineBusy

MAX_ERROR_CHARACTERS = 4000
_PRODUCT = __name__.partition(".")[0]
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){2,9}")
_Call = tuple[str, list[Any], dict[str, Any]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TaskDelivery:
    """One delivery of a queue entry; `number` counts them from 0."""

    body: bytes
    task_id: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """An HTTP status for the queue, and a message for it. `error` is for operators only."""

    status: int
    message: str
    error: str = ""

    @property
    def done(self) -> bool:
        return 200 <= self.status < 300


class MalformedDelivery(Exception):
    """The body of a delivery is not a call of a task."""


class ImpossibleCall(Exception):
    """The name is not one of a task of the product, or the arguments do not fit its parameters."""


def queue_account() -> str:
    """Return the service account that the queue uses; "" for a queue that does not use HTTP."""
    return str(getattr(default_task_backend, "service_account", ""))


def deliver(delivery: TaskDelivery) -> DeliveryResult:
    """Run the task of a delivery; record it as a dead letter if this was its last attempt."""
    try:
        path, args, kwargs = call = _parse(delivery.body)
    except MalformedDelivery as error:
        # A repetition would not help.
        logger.warning("delivery %s is dropped: %s", delivery.task_id, error)
        return DeliveryResult(200, f"dropped: {error}")
    try:
        result = _run(delivery, path, args, kwargs)
    except ImpossibleCall as error:
        result, is_last = DeliveryResult(422, str(error)), True
    else:
        limit = getattr(default_task_backend, "max_attempts", None)
        is_last = limit is not None and delivery.number + 1 >= limit
    if result.done or not is_last:
        return result
    text = result.error or result.message
    try:
        add_dead_letter(delivery.task_id, call, attempts=delivery.number + 1, error=text)
    except DatabaseError as error:
        logger.warning("task %s: cannot record the dead letter: %s", path, error)
        return result
    return DeliveryResult(200, f"dead letter: {result.message}")


def add_dead_letter(task_id: str, call: _Call, *, attempts: int, error: str) -> None:
    """Record a task that failed too often as a dead letter. Raises DatabaseError."""
    path, args, kwargs = call
    logger.error("task %s failed %d times and is a dead letter: %s", path, attempts, error)
    DeadLetter.objects.update_or_create(
        task_id=task_id,
        defaults={
            "task": path[:300],
            "args": args,
            "kwargs": kwargs,
            "attempts": attempts,
            "error": error.replace("\0", "")[:MAX_ERROR_CHARACTERS],
        },
    )


def requeue(letter: DeadLetter) -> bool:
    """Enqueue a dead letter's task again; return False if this version has no such task."""
    task = find_task(letter.task)
    if task is None:
        return False
    task.enqueue(*letter.args, **letter.kwargs)
    letter.delete()
    return True


def find_task(path: str) -> Task[..., Any] | None:
    """Return the task at a dotted path inside one of the product's apps."""
    ours = {config.name for config in apps.get_app_configs() if config.name.startswith(_PRODUCT)}
    if not _PATH.fullmatch(path) or ".".join(path.split(".")[:2]) not in ours:
        return None
    try:
        found = import_string(path)
    except ImportError:
        return None
    return found if isinstance(found, Task) else None


def _is_of_product(path: str) -> bool:
    """Return whether a path may be one of a task of the product, in this version or another one."""
    return path.startswith(f"{_PRODUCT}.") and _PATH.fullmatch(path) is not None


def _run(
    delivery: TaskDelivery, path: str, args: list[Any], kwargs: dict[str, Any]
) -> DeliveryResult:
    task = find_task(path)
    if task is None:
        text = (
            f"This version has no task {path[:200]!r}: another version enqueued it. Requeue it"
            " with that version, or delete it."
        )
        if not _is_of_product(path):
            raise ImpossibleCall(text)
        logger.warning("delivery %s: no task %r", delivery.task_id, path[:200])
        return DeliveryResult(404, f"There is no task {path[:200]!r}.", text)
    _check_arguments(task, args, kwargs)
    if task.takes_context:
        args = [TaskContext(task_result=_result(task, args, kwargs, delivery)), *args]
    try:
        task.call(*args, **kwargs)
    except (TryLater, EngineBusy) as error:
        return DeliveryResult(409, str(error))
    except (InterfaceError, OperationalError) as error:
        logger.warning("task %s: the database cannot be reached: %s", path, error)
        return DeliveryResult(503, "The database cannot be reached.")
    except Exception as error:
        logger.exception("task %s failed", path)
        return DeliveryResult(500, "The task failed.", f"{type(error).__name__}: {error}")
    return DeliveryResult(200, "done")


def _check_arguments(task: Task[..., Any], args: list[Any], kwargs: dict[str, Any]) -> None:
    """Raise ImpossibleCall unless the arguments fit the task; a repetition would not help."""
    signature, types = _parameters(task.func, takes_context=task.takes_context)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise ImpossibleCall(f"{task.name}: {error}.") from None
    for name, value in given.items():
        try:
            types[name].validate_python(value, strict=True)
        except ValidationError as error:
            reason = error.errors(include_input=False, include_url=False)[0]["msg"]
            raise ImpossibleCall(f"{task.name}: `{name}` is {value!r:.100}: {reason}.") from None


@cache
def _parameters(
    function: Any, *, takes_context: bool
) -> tuple[inspect.Signature, dict[str, TypeAdapter[Any]]]:
    """Return the signature of a task's function, without its context, and the types in it."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[1 if takes_context else 0 :]
    hints = get_type_hints(function, include_extras=True)
    types = {each.name: TypeAdapter[Any](hints.get(each.name, Any)) for each in parameters}
    return signature.replace(parameters=parameters), types


def _parse(body: bytes) -> _Call:
    """Return path, args and kwargs. Raises MalformedDelivery."""
    try:
        call = json.loads(body)
        path, args, kwargs = call["task"], call["args"], call["kwargs"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise MalformedDelivery(f"Invalid delivery: {error!r}"[:300]) from None
    if not isinstance(path, str) or not isinstance(args, list) or not isinstance(kwargs, dict):
        raise MalformedDelivery("Invalid delivery: task, args and kwargs have the wrong types.")
    return path, args, kwargs


def _result(
    task: Task[..., Any], args: list[Any], kwargs: dict[str, Any], delivery: TaskDelivery
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
