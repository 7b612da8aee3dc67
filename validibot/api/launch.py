"""The launch of a run: take the file, start the run, and wait for its end if the client asks.

A client that does not wait is answered from memory. One that waits (`Prefer: wait`) does so in the
event loop; without ASGI it keeps its thread.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus

from django.core.handlers.asgi import ASGIRequest
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from django.tasks import default_task_backend
from rest_framework.request import Request

from validibot.accounts.scope import Scope
from validibot.api import run_documents
from validibot.api.documents import respond
from validibot.core.asgi import DeferredResponse, in_thread
from validibot.core.problems import ApiError
from validibot.runs import events
from validibot.runs.access import NotAdmitted, check_runnable
from validibot.runs.models import Run
from validibot.runs.start import StartedRun, start
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
        raise ApiError(403, "PERMISSION_DENIED", "Your role does not allow launching runs here.")
    seconds = _wait_seconds(request)
    if seconds:
        _check_waiters(scope)
    began = time.monotonic()
    with _refusals():
        # Checked again by `start`; here it saves the transfer of a file that nobody takes.
        check_runnable(workflow)
        # The request that REST framework wraps: its parsers would read the body first.
        with receive(request._request) as incoming:  # noqa: SLF001
            started = start(
                workflow,
                incoming,
                user=scope.user,
                source=_source(request),
                idempotency_key=_idempotency_key(request),
            )
    return _respond(request, scope, started, seconds, began)


def _respond(
    request: Request, scope: Scope, started: StartedRun, seconds: int, began: float
) -> HttpResponse:
    run, org = started.run, scope.organisation.slug
    headers = {"Preference-Applied": f"wait={seconds}"} if seconds else {}
    if started.replayed:
        headers |= {"Idempotent-Replayed": "true", "Original-Request-Id": str(run.pk)}
    if seconds and isinstance(request._request, ASGIRequest):  # noqa: SLF001
        since = None if started.replayed else began
        return DeferredResponse(partial(_wait, scope, run, seconds, headers, since), status=202)
    if seconds:
        events.wait_until_finished(run.pk, timeout=seconds)
    if seconds or started.replayed or not default_task_backend.supports_defer:
        return _answer(scope, run, headers)
    return _accepted(run_documents.LaunchDocument.of_new(run, org), headers)


async def _wait(
    scope: Scope, run: Run, seconds: int, headers: dict[str, str], since: float | None
) -> HttpResponse:
    """Return the answer when the run has ended, or after `seconds`."""
    answer = in_thread(_answer)
    _waiters[scope.user.pk] += 1
    try:
        async with asyncio.timeout(seconds):
            async for _ in events.changes(run.pk, ends_only=True, since=since):
                response = await answer(scope, run, headers)
                if response.status_code == HTTPStatus.CREATED:
                    return response
    except TimeoutError:
        pass
    finally:
        _waiters[scope.user.pk] -= 1
    return await answer(scope, run, headers)


def _answer(scope: Scope, run: Run, headers: dict[str, str]) -> HttpResponse:
    """Return the answer of a launch as the run is now."""
    try:
        document = run_documents.load_document(scope, run.pk)
    except (InterfaceError, OperationalError):
        document = None
    if document is None:  # the run was accepted, whatever became of it or of the database since
        return _accepted(run_documents.LaunchDocument.of_new(run, scope.organisation.slug), headers)
    if document.state != "COMPLETED":
        return _accepted(run_documents.LaunchDocument.of_running(document), headers)
    return respond(document, status=201, headers=headers | {"Location": document.url})


def _accepted(document: run_documents.LaunchDocument, headers: dict[str, str]) -> HttpResponse:
    headers = headers | {"Location": document.url, "Retry-After": str(RETRY_AFTER_SECONDS)}
    return respond(document, status=202, headers=headers)


def _check_waiters(scope: Scope) -> None:
    """Raise ApiError if too many requests of the user wait already."""
    if _waiters[scope.user.pk] >= MAX_WAITERS_PER_USER:
        raise ApiError(
            429,
            "TOO_MANY_WAITERS",
            f"{MAX_WAITERS_PER_USER} of your requests already wait for the end of their run. Send"
            " this one without `Prefer: wait` and ask for its run later, or send it again.",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        )


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (IntakeError, NotAdmitted) as error:
        errors = [{"field": error.field, "message": error.message}] if error.field else []
        headers = error.headers if isinstance(error, NotAdmitted) else {}
        raise ApiError(
            error.status, error.code, error.message, errors=errors, headers=headers
        ) from error


def _source(request: Request) -> str:
    """Return the source of the run: the published client is known by its User-Agent."""
    agent = request.headers.get("User-Agent", "")
    return Run.Source.CLI if agent.startswith("validibot-cli/") else Run.Source.API


def _idempotency_key(request: Request) -> str:
    """Return the request's `Idempotency-Key`, or an empty string. Raises ApiError for a bad one."""
    key: str = request.headers.get("Idempotency-Key", "")
    if len(key) > 255 or "\x00" in key:
        raise ApiError(
            400, "idempotency_key_too_long", "Idempotency-Key has more than 255 characters."
        )
    return key


def _wait_seconds(request: Request) -> int:
    """Return for how long `Prefer: wait=SECONDS` (RFC 7240) asks to wait, or 0."""
    match = _WAIT.search(request.headers.get("Prefer", ""))
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else 0
