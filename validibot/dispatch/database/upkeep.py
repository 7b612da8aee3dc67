"""What is done to the queue's rows: noted as failed, taken over from the dead, queued again."""

import datetime as dt
import logging
from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from procrastinate.contrib.django.models import ProcrastinateWorker

from validibot.dispatch.database.models import QueuedTask
from validibot.dispatch.database.options import Options

MAX_ERROR_CHARACTERS = 4000
_DIED = "Its worker died, or gave no sign of life, while the task ran."

logger = logging.getLogger(__name__)


def note_failure(pk: int, args: dict[str, Any], error: str) -> None:
    """Remember why a task was not done, beside its arguments: it is all that the row has room for."""
    noted = args | {"error": error[:MAX_ERROR_CHARACTERS]}
    QueuedTask.objects.filter(pk=pk, status=QueuedTask.RUNNING).update(args=noted)


def take_over(options: Options) -> list[int]:
    """Free the tasks of workers that give no sign of life; return their ids.

    Any number of workers may do this at once: each row is freed by one of them. A task that ends
    one worker after the other is dead in the end.
    """
    # The database's clock alone decides: it also set the heartbeats.
    since = Now() - dt.timedelta(seconds=options.lease_seconds)
    alive = ProcrastinateWorker.objects.filter(pk=OuterRef("worker_id"), last_heartbeat__gt=since)
    held = QueuedTask.objects.filter(~Exists(alive), status=QueuedTask.RUNNING)
    with transaction.atomic():
        orphans = list(held.select_for_update(skip_locked=True))
        for task in orphans:
            _free(task, max_attempts=options.max_attempts)
    for task in orphans:
        logger.warning("task %s is taken over: %s", task, _DIED)
    return [task.pk for task in orphans]


def _free(task: QueuedTask, *, max_attempts: int) -> None:
    attempts = task.attempts + 1
    _update(
        task,
        status=QueuedTask.WAITING if attempts < max_attempts else QueuedTask.DEAD,
        attempts=attempts,
        args=task.args | {"error": _DIED},
    )


def requeue(ids: Iterable[int]) -> int:
    """Give dead tasks all their attempts again; return how many of `ids` were dead."""
    dead = QueuedTask.objects.filter(pk__in=list(ids), status=QueuedTask.DEAD)
    with transaction.atomic():
        tasks = list(dead.select_for_update())
        for task in tasks:
            _update(task, status=QueuedTask.WAITING, attempts=0)
    return len(tasks)


def _update(task: QueuedTask, **changes: Any) -> None:
    """Change an entry that no worker holds; delete it if another with its key waits already."""
    row = QueuedTask.objects.filter(pk=task.pk)
    try:
        with transaction.atomic():
            row.update(worker=None, scheduled_at=None, **changes)
    except IntegrityError:
        row.delete()
