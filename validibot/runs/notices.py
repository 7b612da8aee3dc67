"""Messages about the end of a run: to the organisation's webhooks, and to people."""

from functools import cache, partial
from typing import Any

from django.conf import settings

from validibot.notifications.delivery import EndedRun, note
from validibot.notifications.models import FAILURES
from validibot.runs import queue
from validibot.runs.models import Finding, Run
from validibot.runs.states import RunStatus
from validibot.webhooks.delivery import announce
from validibot.workflows.models import Severity

EVENT_OF_RESULT = {
    "PASS": "passed",
    "FAIL": "failed",
    "ERROR": "error",
    "CANCELED": "canceled",
    "TIMED_OUT": "timed_out",
}
# People start these runs; programs, which start the others, look for themselves.
_BY_PERSON = (Run.Source.LAUNCH_PAGE, Run.Source.SCHEDULE)
# Of the first finding, in messages.
MAX_FINDING = 500
# The runs before one, as far as a change is looked for among them.
_VERDICTS = (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.TIMED_OUT)


def tell(run: Run) -> None:
    """Enqueue the notices and the webhooks about a run's end, in the transaction that ends it.

    A trial, which its author watches, is left out; people are not told of cancelled runs either.
    """
    if run.source == Run.Source.TRIAL:
        return
    by_default = run.result in FAILURES and run.source in _BY_PERSON and run.user_id is not None
    is_noted = run.status != RunStatus.CANCELED and (by_default or run.may_be_watched)
    if is_noted and note(run.pk, run.organisation_id, certain=by_default):
        queue.enqueue_notices(run.pk)
    if run.may_be_announced:
        announce(run.organisation_id, f"run.{EVENT_OF_RESULT[run.result]}", partial(_message, run))


def ended_run(run: Run) -> EndedRun:
    """Return the facts that notifications show. `run` has workflow, organisation and submission."""
    return EndedRun(
        run_id=run.pk,
        organisation=run.organisation,
        workflow=run.workflow.slug,
        title=_title(run),
        result=run.result,
        finding=first_finding(run)[:MAX_FINDING],
        user_id=run.user_id,
        by_person=run.source in _BY_PERSON,
        previous=cache(partial(_previous_result, run)),
    )


def first_finding(run: Run) -> str:
    """Return the message of the first error, else why the run ended so; "" for a run that passed."""
    if run.result == "PASS":
        return ""
    errors = Finding.objects.filter(run=run, severity=Severity.ERROR).order_by("id")
    message = errors.values_list("message", flat=True).first()
    return message or run.error


def _previous_result(run: Run, user_id: int | None) -> str:
    """Return the result of the newest run of the workflow that was started before and has ended."""
    earlier = Run.objects.filter(
        workflow__organisation=run.organisation_id,
        workflow__slug=run.workflow.slug,
        status__in=_VERDICTS,
        created_at__lt=run.created_at,
    ).exclude(source=Run.Source.TRIAL)
    if user_id is not None:
        earlier = earlier.filter(user=user_id)
    found = earlier.order_by("-created_at").first()
    return found.result if found else ""


def _title(run: Run) -> str:
    return f"{run.submission.shown_filename} · {run.workflow.name}"


def _message(run: Run) -> dict[str, Any]:
    """Return the data of a webhook's message about a run that has ended."""
    org, workflow, submission = run.organisation.slug, run.workflow, run.submission
    return {
        "run": str(run.pk),
        "organisation": org,
        "workflow": workflow.slug,
        "workflow_name": workflow.name,
        "version": workflow.version,
        "result": run.result,
        "error": run.error,
        "finding": first_finding(run)[:MAX_FINDING],
        "filename": submission.filename,
        "name": submission.name,
        "url": f"{settings.SITE_URL}/app/orgs/{org}/runs/{run.pk}/",
        "api_url": f"{settings.SITE_URL}/api/v1/orgs/{org}/runs/{run.pk}/",
        "text": f"{run.result}: {_title(run)}",
    }
