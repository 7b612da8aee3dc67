"""The tasks of runs.

Arguments are ids. Every task may be delivered more than once, and late: a run or an attempt that was
deleted meanwhile is done. TryLater makes the queue deliver the task again.
"""

import logging
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.tasks import TaskContext, task
from django.template.loader import render_to_string
from django.utils import translation

from validibot.accounts.profile import known_language
from validibot.core.mail import RecipientRefused, deliver
from validibot.core.models import RowId
from validibot.core.scheduled_work import recorded
from validibot.core.storage import StorageError
from validibot.dispatch import TryLater
from validibot.engines import EngineBusy
from validibot.runs import queue, reconcile
from validibot.runs.backends.base import StateUnavailable
from validibot.runs.execute import execute
from validibot.runs.launch import LaunchPostponed
from validibot.runs.lease import RunBusy
from validibot.runs.models import Run
from validibot.runs.purge import purge
from validibot.runs.scheduled import start_scheduled
from validibot.runs.sweep import run_sweep

logger = logging.getLogger(__name__)


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
def send_run_finished(run_id: RowId) -> None:
    """Mail the user who started a run on its page."""
    runs = Run.objects.select_related("organisation", "submission", "user", "workflow")
    run = runs.filter(pk=run_id).first()
    if run and run.user:
        language = known_language(run.user.language) or settings.LANGUAGE_CODE
        try:
            with translation.override(language):
                run_finished(
                    recipient=run.user.email,
                    filename=run.submission.filename,
                    workflow=run.workflow.name,
                    result=run.result,
                    sentence=run.error,
                    url=f"{settings.SITE_URL}/app/orgs/{run.organisation.slug}/runs/{run.pk}/",
                )
        except RecipientRefused as error:
            logger.warning("mail about run %s is not delivered: %s", run_id, error)


@task
def purge_old() -> None:
    """Remove what is older than its retention; a scheduler asks for it once a day."""
    recorded("purge", purge)


def run_finished(
    *, recipient: str, filename: str, workflow: str, result: str, sentence: str, url: str
) -> None:
    """Tell `recipient` how a run ended. `result` is PASS, FAIL, ERROR, …; `url` its page.

    Raises core.mail.RecipientRefused, and the mailer's own errors in an outage.
    """
    context = {
        "filename": filename,
        "workflow": workflow,
        "result": result,
        "sentence": sentence,
        "url": url,
    }
    message = EmailMultiAlternatives(
        # On one line: a file may be called as it likes, and a header must not be broken.
        subject=" ".join(f"{result}: {filename} · {workflow}".split()),
        body=render_to_string("runs/run_finished.txt", context),
        to=[recipient],
    )
    message.attach_alternative(render_to_string("runs/run_finished.html", context), "text/html")
    deliver(message)
