"""Queue entries that one part of a run's life makes for another.

Tasks lie at the top of the package: they call everything. Code that enqueues them lies below. The
queue is what breaks this circle, so the tasks are imported when an entry is made, here and nowhere
else. Entries are made after the commit of the transaction that makes them necessary. If the queue
cannot be reached the error is logged and the sweep finds what is missing: the state of runs and
attempts says what has to be done, an entry only says that it should be done now.

The entry of a run is named by the run and by `enqueued_at`, the moment when the run became ready for
a worker. A second entry for the same moment is not added.
"""

import datetime as dt
import logging
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.tasks import Task, default_task_backend
from django.utils import timezone

from validibot.core.trace import trace_of_run
from validibot.dispatch.backend import enqueue_once
from validibot.runs.events import release_connection
from validibot.runs.models import Run
from validibot.workflows.models import WorkflowSchedule

logger = logging.getLogger(__name__)


def enqueue_run(run: Run) -> None:
    """Enqueue the execution of a run's next steps."""
    _on_commit(partial(_add_run, run))


def enqueue_run_once(run: Run) -> bool:
    """Enqueue a run now, unless the queue has its entry; return whether one was added.

    An outage of the queue is logged: the next sweep does the same.
    """
    try:
        return _add_run(run)
    except Exception:
        logger.exception("run %s cannot be enqueued now", run.pk)
        return False


def enqueue_lost(lost: "Task[..., Any]", row_id: int | str, key: str) -> bool:
    """Enqueue a task of a row that was lost, as `enqueue_run_once` does that of a run."""
    try:
        return enqueue_once(lost, row_id, key=key)
    except Exception:
        logger.exception("%s of row %s cannot be enqueued now", lost.name, row_id)
        return False


def enqueue_watch(attempt_id: UUID, *, number: int = 0) -> None:
    """Enqueue a look at an execution in 5 seconds, then in 10, 20, 40 and always 60.

    A queue that cannot wait leaves it to the sweep.
    """
    if not default_task_backend.supports_defer:
        return
    due = timezone.now() + dt.timedelta(seconds=min(5 * 2 ** min(number, 4), 60))
    _on_commit(lambda: _tasks().watch_attempt.using(run_after=due).enqueue(str(attempt_id), number))


def enqueue_cancel(attempt_id: UUID) -> None:
    """Enqueue the cancellation of an attempt's execution."""
    _on_commit(lambda: _tasks().cancel_execution.enqueue(str(attempt_id)))


def enqueue_notices(run_id: UUID) -> None:
    """Enqueue the notifications about a run's end."""
    _on_commit(partial(_add_notices, run_id))


def enqueue_schedule(schedule: WorkflowSchedule, now: dt.datetime) -> bool:
    """Enqueue the start of a schedule's run; return whether an entry was added.

    The entry is named by the time that has come and by the five minutes of `now`: a lost entry is
    replaced then. An outage of the queue is logged: the next sweep does the same.
    """
    due = schedule.next_at or now
    key = f"schedule-{schedule.pk}-{int(due.timestamp())}-{int(now.timestamp()) // 300}"
    try:
        return enqueue_once(_tasks().start_schedule, schedule.pk, key=key)
    except Exception:
        logger.exception("schedule %s cannot be enqueued now", schedule.pk)
        return False


def _add_run(run: Run) -> bool:
    moment = run.enqueued_at or run.created_at
    key = f"execute-{run.pk}-{int(moment.timestamp() * 1000)}"
    with trace_of_run(run.pk):
        return enqueue_once(_tasks().execute_run, str(run.pk), key=key)


def _add_notices(run_id: UUID) -> None:
    with trace_of_run(run_id):
        _tasks().notify_about_run.enqueue(str(run_id))


def _on_commit(enqueue: Callable[[], Any]) -> None:
    transaction.on_commit(partial(_call, enqueue), robust=True)


def _call(enqueue: Callable[[], Any]) -> None:
    """Enqueue without holding a database connection: the queue may take seconds to answer."""
    if "pool" in connection.settings_dict["OPTIONS"]:
        release_connection()
    enqueue()


def _tasks() -> ModuleType:
    from validibot.runs import tasks  # noqa: PLC0415

    return tasks
