"""The tasks of runs. Arguments are ids; every task may be delivered more than once."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.tasks import TaskContext, task

from validibot.core.storage import StorageError
from validibot.dispatch import TryLater
from validibot.notify.mail import run_finished
from validibot.runs import execute, queue, reconcile
from validibot.runs.backends import get_backend
from validibot.runs.backends.base import Phase, StateUnavailable
from validibot.runs.models import Attempt, Run


@task(takes_context=True)
def execute_run(context: TaskContext[Any, Any], run_id: str) -> None:
    """Go on with a run."""
    try:
        ended = execute.execute(UUID(run_id), task=context.task_result.id)
    except execute.Busy as error:
        raise TryLater(f"Another worker holds run {run_id}.") from error
    except StorageError as error:
        raise TryLater(str(error)) from error
    if ended:
        queue.announce(ended)


@task
def watch_attempt(attempt_id: str, number: int = 0) -> None:
    """Look after an execution, again and again, less and less often."""
    try:
        active = reconcile.look(UUID(attempt_id))
    except StorageError as error:
        raise TryLater(str(error)) from error
    if active:
        queue.enqueue_watch(UUID(attempt_id), number=number + 1)


@task
def sweep() -> None:
    """Sweep, as the scheduler makes the worker do by HTTP; for queues with periodic tasks."""
    reconcile.reconcile_all()


@task
def cancel_execution(attempt_id: str) -> None:
    """Stop what a cancelled or timed-out attempt may still be doing."""
    attempt = Attempt.objects.select_related("step_run__step__validator").get(pk=attempt_id)
    backend = get_backend(attempt.backend)
    try:
        execution = attempt.execution
        if not execution:
            job = attempt.step_run.step.validator.job
            found = backend.find(job=job, input_uri=attempt.input_uri)
            execution = found.execution if found.phase is Phase.RUNNING else ""
        if execution:
            backend.cancel(execution)
    except StateUnavailable as error:
        raise TryLater(str(error)) from error


@task
def send_run_finished(run_id: str) -> None:
    """Mail whoever started a run on its page, where nobody else tells them of its end."""
    run = Run.objects.select_related("organisation", "submission", "user", "workflow").get(
        pk=run_id
    )
    if run.user:
        run_finished(
            recipient=run.user.email,
            filename=run.submission.filename,
            workflow=run.workflow.name,
            result=run.result,
            sentence=run.error,
            url=f"{settings.SITE_URL}/app/orgs/{run.organisation.slug}/runs/{run.pk}/",
        )
