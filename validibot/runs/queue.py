"""Queue entries that one part of a run's life makes for another.

Tasks lie at the top of the package: they call everything. Code that enqueues them lies below. The
queue is what breaks this circle, so the tasks are imported when an entry is made, here and nowhere
else. All entries are made after the commit of the transaction that makes them necessary. If the
queue cannot be reached the error is logged and the sweep finds what is missing: the state of runs
and attempts says what has to be done, an entry only says that it should be done now.
"""

import datetime as dt
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.tasks import default_task_backend
from django.utils import timezone

from validibot.runs.events import release_connection
from validibot.runs.models import Run


def enqueue_run(run_id: UUID) -> None:
    """Enqueue the execution of a run's next steps."""
    _on_commit(lambda: _tasks().execute_run.enqueue(str(run_id)))


def enqueue_watch(attempt_id: UUID, *, number: int = 0) -> None:
    """Enqueue a look at an execution in 5 seconds, then in 10, 20, 40 and always 60.

    A queue that cannot wait leaves it to the sweep.
    """
    if not default_task_backend.supports_defer:
        return
    delay = dt.timedelta(seconds=min(5 * 2 ** min(number, 4), 60))
    due = timezone.now() + delay
    _on_commit(lambda: _tasks().watch_attempt.using(run_after=due).enqueue(str(attempt_id), number))


def enqueue_cancel(attempt_id: UUID) -> None:
    """Enqueue the cancellation of an attempt's execution."""
    _on_commit(lambda: _tasks().cancel_execution.enqueue(str(attempt_id)))


def enqueue_mail(run_id: UUID) -> None:
    """Enqueue the mail about a run's end."""
    _on_commit(lambda: _tasks().send_run_finished.enqueue(str(run_id)))


def announce(run: Run) -> None:
    """Enqueue the mail about a run's end. Programs that start runs look for themselves."""
    if run.source == Run.Source.LAUNCH_PAGE and run.user_id:
        enqueue_mail(run.pk)


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
