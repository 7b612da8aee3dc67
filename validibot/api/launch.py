"""Launch a run: take the file in, start, and perhaps wait a moment for the end."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.db import transaction
from django.http import HttpResponse
from rest_framework.request import Request

from validibot.accounts.scope import Scope
from validibot.api import documents, idempotency
from validibot.core.problems import Problem
from validibot.runs import admit, events
from validibot.runs.admit import NotAdmitted
from validibot.runs.models import Run
from validibot.runs.start import start_run
from validibot.submissions import content
from validibot.submissions.intake import IntakeError, receive
from validibot.workflows.models import Workflow

RETRY_AFTER_SECONDS = 5
MAX_WAIT_SECONDS = 60.0
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])")


def launch(request: Request, scope: Scope, workflow: Workflow) -> HttpResponse:
    """Start a run and answer 201 with the finished run, or 202 with where to look for it."""
    if not scope.can("run.launch"):
        raise Problem(403, "PERMISSION_DENIED", "Your role does not allow launching runs here.")
    key = idempotency.key_of(request)
    with _receive(request, workflow) as incoming:
        run, replayed = _start(scope, workflow, incoming, key, _source(request))
    waited = _wait(request, run)
    headers = {"Preference-Applied": f"wait={waited}"} if waited else {}
    if replayed:
        headers |= {"Idempotent-Replayed": "true", "Original-Request-Id": str(run.pk)}
    return answer(run, scope.organisation.slug, headers)


def answer(run: Run, org: str, headers: dict[str, str]) -> HttpResponse:
    """Return the answer of a launch as the run is now."""
    found, steps = documents.load_run(Run.objects.all(), run.pk) or (run, [])
    document = documents.RunDocument.of_steps(found, steps, org)
    headers = headers | {"Location": document.url}
    if document.state == "COMPLETED":
        return documents.respond(document, status=201, headers=headers)
    headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return documents.respond(
        documents.LaunchDocument.of_running(document), status=202, headers=headers
    )


def _receive(request: Request, workflow: Workflow) -> content.Incoming:
    with ExitStack() as held, _refusals():
        admit.check_runnable(workflow)
        # DRF's own request is passed by: its parsers would read the body first.
        incoming = held.enter_context(receive(request._request))  # noqa: SLF001
        admit.check_type(workflow, incoming.filename)
        admit.check_scenario(workflow, incoming.scenario)
        held.pop_all()
        return incoming


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (IntakeError, NotAdmitted) as error:
        errors = [{"field": error.field, "message": error.message}] if error.field else []
        raise Problem(error.status, error.code, error.message, errors=errors) from error


def _start(
    scope: Scope, workflow: Workflow, incoming: content.Incoming, key: str, source: str
) -> tuple[Run, bool]:
    """Return the run, and whether an earlier request had started it."""
    submission = content.prepare(
        incoming, organisation=scope.organisation, project=workflow.project, user=scope.user
    )
    told = idempotency.digest(f"{workflow.pk} {incoming.fingerprint()}")
    try:
        with transaction.atomic():
            claim = idempotency.claim(scope, key, told) if key else None
            if claim is None or claim.replayed is None:
                submission.save(force_insert=True)
                run = start_run(
                    workflow=workflow,
                    submission=submission,
                    user=scope.user,
                    source=source,
                    scenario=incoming.scenario,
                )
                if claim:
                    claim.bind(run)
                return run, False
    except Problem:
        content.discard(submission)
        raise
    content.discard(submission)
    return claim.replayed, True


def _source(request: Request) -> str:
    """Tell the published client from other programs by its User-Agent."""
    agent = request.headers.get("User-Agent", "")
    return Run.Source.CLI if agent.startswith("validibot-cli/") else Run.Source.API


def _wait(request: Request, run: Run) -> int:
    """Wait as long as `Prefer: wait=SECONDS` asks (RFC 7240); return those seconds, or 0."""
    match = _WAIT.search(request.headers.get("Prefer", ""))
    if not match:
        return 0
    seconds = min(float(match[1]), MAX_WAIT_SECONDS)
    events.wait_until_finished(run.pk, timeout=seconds)
    return int(seconds)
