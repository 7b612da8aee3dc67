"""Launch a run: take the file in, start, and perhaps wait a moment for the end."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from django.core.handlers.asgi import ASGIRequest
from django.db import InterfaceError, OperationalError, transaction
from django.http import HttpResponse
from rest_framework.request import Request

from validibot.accounts.scope import Scope
from validibot.api import documents, idempotency, run_documents
from validibot.core.asgi import DeferredResponse
from validibot.core.problems import Problem
from validibot.runs import admit, events
from validibot.runs.admit import NotAdmitted
from validibot.runs.models import Run
from validibot.runs.start import start_run
from validibot.submissions import content
from validibot.submissions.intake import IntakeError, receive
from validibot.workflows.models import Workflow

RETRY_AFTER_SECONDS = 5
MAX_WAIT_SECONDS = 60
MAX_WAITERS_PER_USER = 20
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])")

# Requests of each user that wait now, in this process.
_waiters: Counter[int] = Counter()


def launch(request: Request, scope: Scope, workflow: Workflow) -> HttpResponse:
    """Start a run and answer 201 with the finished run, or 202 with where to look for it."""
    if not scope.can("run.launch"):
        raise Problem(403, "PERMISSION_DENIED", "Your role does not allow launching runs here.")
    seconds = _wait_seconds(request)
    waiter = scope.user.pk
    if seconds and _waiters[waiter] >= MAX_WAITERS_PER_USER:
        raise Problem(
            429,
            "TOO_MANY_WAITERS",
            f"{MAX_WAITERS_PER_USER} of your requests wait for the end of their run already. Send"
            " this one without `Prefer: wait` and ask for its run later, or send it again.",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        )
    key = idempotency.key_of(request)
    with _receive(request, workflow) as incoming:
        run, replayed = _start(scope, workflow, incoming, key, _source(request))
    headers = {"Preference-Applied": f"wait={seconds}"} if seconds else {}
    if replayed:
        headers |= {"Idempotent-Replayed": "true", "Original-Request-Id": str(run.pk)}
    org = scope.organisation.slug

    async def wait() -> None:
        _waiters[waiter] += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await events.until_ended(run.pk)
        finally:
            _waiters[waiter] -= 1

    if seconds and isinstance(request._request, ASGIRequest):  # noqa: SLF001
        return DeferredResponse(wait, lambda: answer(run, org, headers), status=202)
    if seconds:
        events.wait_until_finished(run.pk, timeout=seconds)
    return answer(run, org, headers)


def answer(run: Run, org: str, headers: dict[str, str]) -> HttpResponse:
    """Return the answer of a launch as the run is now."""
    try:
        loaded = run_documents.load_run(Run.objects.all(), run.pk)
    except (InterfaceError, OperationalError):
        loaded = None  # the run is accepted, whatever becomes of the database afterwards
    if loaded is None:
        document: run_documents.RunDocument = run_documents.LaunchDocument.of_new(run, org)
    else:
        document = run_documents.RunDocument.of_steps(*loaded, org)
    headers = headers | {"Location": document.url}
    if document.state == "COMPLETED":
        return documents.respond(document, status=201, headers=headers)
    headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return documents.respond(
        run_documents.LaunchDocument.of_running(document), status=202, headers=headers
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


def _wait_seconds(request: Request) -> int:
    """Return for how long `Prefer: wait=SECONDS` (RFC 7240) asks to wait, or 0."""
    match = _WAIT.search(request.headers.get("Prefer", ""))
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else 0
