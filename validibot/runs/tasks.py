"""The tasks of runs.

Arguments are ids. Every task may be delivered more than once, and late: a run or an attempt that was
deleted meanwhile is done. TryLater makes the queue deliver the task again.
"""

from typing import Any
from uuid import UUID

from django.tasks import TaskContext, task

from validibot.core.models import RowId
from validibot.core.scheduled_work import recorded
from validibot.core.storage import StorageError
from validibot.dispatch import TryLater
from validibot.engines import EngineBusy
from validibot.notifications.delivery import forget, notify
from validibot.runs import queue, reconcile
from validibot.runs.backends.base import StateUnavailable
from validibot.runs.execute import execute
from validibot.runs.launch import LaunchPostponed
from validibot.runs.lease import RunBusy
from validibot.runs.models import Run
from validibot.runs.notices import ended_run
from validibot.runs.purge import purge
from validibot.runs.scheduled import start_scheduled
from validibot.runs.sweep import run_sweep


@task(takes_context=True)
def execute_run(context: TaskContext[Any, Any], run_id: RowId) -> None:
    """Go on with a run."""
    try:
        execute(UUID(run_id), task=context.task_result.id)
    except RunBusy as error:
        raise TryLater(f"Another worker holds run {run_id}.") from error
    except (StorageError, EngineBusy, LaunchPostponed) as error:
        raise TryLater(str(error)) from error


@task
def watch_attempt(attempt_id: RowId, number: int = 0) -> None:
    """Look after an execution, again and again, less and less often."""
    try:
        active = reconcile.look(UUID(attempt_id))
    except (StorageError, EngineBusy) as error:
        raise TryLater(str(error)) from error
    if active:
        queue.enqueue_watch(UUID(attempt_id), number=number + 1)


@task
def start_schedule(schedule_id: int) -> None:
    """Start the run of a schedule whose time has come."""
    start_scheduled(schedule_id)


@task
def sweep() -> None:
    """Sweep, as the scheduler makes the worker do by HTTP; for queues with periodic tasks."""
    recorded("reconcile", run_sweep)


@task
def cancel_execution(attempt_id: RowId) -> None:
    """Cancel the execution of an attempt that has ended; the sweep makes sure that it ends."""
    attempt = reconcile.load_attempt(UUID(attempt_id))
    if attempt is None:
        return
    try:
        reconcile.stop_execution(attempt)
    except StateUnavailable as error:
        raise TryLater(str(error)) from error


@task
def notify_about_run(run_id: RowId) -> None:
    """Write the notifications about a run's end and enqueue their mails."""
    runs = Run.objects.select_related("organisation", "submission", "workflow")
    run = runs.filter(pk=run_id).first()
    if run is None:
        forget(UUID(run_id))
    else:
        notify(ended_run(run))


@task
def purge_old() -> None:
    """Remove what is older than its retention; a scheduler asks for it once a day."""
    recorded("purge", purge)
