"""What is put on the queue. Arguments are ids; everything may be delivered more than once."""

from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.tasks import TaskContext, task

from validibot.core.storage import StorageError
from validibot.dispatch import TryLater
from validibot.notify.mail import run_finished
from validibot.runs import execute
from validibot.runs.backends import get_backend
from validibot.runs.backends.base import Phase, StateUnavailable
from validibot.runs.findings import Settlement
from validibot.runs.models import Attempt, Run


@task(takes_context=True)
def execute_run(context: TaskContext[Any, Any], run_id: str) -> None:
    try:
        ended = execute.execute(UUID(run_id), task=context.task_result.id)
    except execute.Busy as error:
        raise TryLater(f"Another worker holds run {run_id}.") from error
    except StorageError as error:
        raise TryLater(str(error)) from error
    if ended:
        announce(ended)


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


def enqueue_run(run_id: UUID) -> None:
    """Put a run on the queue. Called on commit: when it fails, the sweep finds the run."""
    execute_run.enqueue(str(run_id))


def follow(settlement: Settlement) -> None:
    """Do what follows from an answer: go on with the run, or tell of its end."""
    if settlement.queue:
        transaction.on_commit(partial(enqueue_run, settlement.run_id), robust=True)
    if settlement.ended:
        announce(settlement.ended)


def announce(run: Run) -> None:
    """Enqueue the mail about a run's end. Programs that launch runs look for themselves."""
    if run.source == Run.Source.LAUNCH_PAGE and run.user_id:
        send = partial(send_run_finished.enqueue, str(run.pk))
        transaction.on_commit(send, robust=True)
