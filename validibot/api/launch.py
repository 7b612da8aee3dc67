"""The launch of a run: take the file, start the run, and wait for its end if the client asks.

A client that does not wait is answered from memory. One that waits (`Prefer: wait`) does so in the
event loop; without ASGI it keeps its thread.
"""

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http import HTTPStatus
from typing import ClassVar
from weakref import WeakSet

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
from validibot.runs.access import (
    CreditsExhausted,
    NotAdmitted,
    check_runnable,
    check_type,
    visible_runs,
)
from validibot.runs.models import Run
from validibot.runs.rerun import rerun, retry
from validibot.runs.start import StartedRun, start
from validibot.submissions.intake import IntakeError, declared_name, receive, text_fault
from validibot.workflows.models import Workflow

RETRY_AFTER_SECONDS = 5
MAX_WAIT_SECONDS = 60
MAX_WAITERS_PER_USER = 20
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])")
_ADVICE = "Send this one without `Prefer: wait` and ask for its run later, or send it again."
_slots_lock = threading.Lock()


class WaitSlot:
    """The place of a request among those of its user that wait, in this process.

    It is taken before the run is started and kept until `release`; a slot that is lost together with
    its answer is free as well. Raises ApiError with `advice` if the user has no free slot.
    """

    _taken: ClassVar["WeakSet[WaitSlot]"] = WeakSet()

    def __init__(self, user_id: int, *, advice: str) -> None:
        self.user_id = user_id
        with _slots_lock:
            if sum(slot.user_id == user_id for slot in self._taken) >= MAX_WAITERS_PER_USER:
                raise ApiError(
                    429,
                    "TOO_MANY_WAITERS",
                    f"{MAX_WAITERS_PER_USER} of your requests already wait for their run. {advice}",
                    headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
                )
            self._taken.add(self)

    def release(self) -> None:
        with _slots_lock:
            self._taken.discard(self)


def launch(request: Request, scope: Scope, workflow: Workflow) -> HttpResponse:
    """Start a run and answer 201 with the finished run, or 202 with where to look for it."""
    if not scope.can_launch(workflow.slug):
        raise ApiError(403, "PERMISSION_DENIED", scope.refusal("run.launch"))
    seconds = _wait_seconds(request)
    began = time.monotonic()
    with _refusals(), ExitStack() as held:
        slot = WaitSlot(scope.user.pk, advice=_ADVICE) if seconds else None
        if slot:
            held.callback(slot.release)
        # Checked again by `start`; here it saves the transfer of a file that nobody takes.
        check_runnable(workflow)
        if name := declared_name(request._request):  # noqa: SLF001
            check_type(workflow, name)
        # The request that REST framework wraps: its parsers would read the body first.
        with receive(request._request) as incoming:  # noqa: SLF001
            started = start(
                workflow,
                incoming,
                user=scope.user,
                source=_source(request),
                idempotency_key=_idempotency_key(request),
            )
        if slot and isinstance(request._request, ASGIRequest):  # noqa: SLF001
            held.pop_all()  # released when the wait ends
            return _deferred(scope, started, seconds, slot, since=began)
        return _respond(scope, started, seconds)


def relaunch(request: Request, scope: Scope, run: Run, workflow: Workflow) -> HttpResponse:
    """Start a run on the submission of `run` and answer 202 with where to look for it."""
    if not scope.can_launch(workflow.slug):
        raise ApiError(403, "PERMISSION_DENIED", scope.refusal("run.launch"))
    with _refusals():
        started = rerun(
            run,
            workflow,
            user=scope.user,
            source=_source(request),
            idempotency_key=_idempotency_key(request),
        )
    return _respond(scope, started, 0)


def relaunch_from_failed_step(request: Request, scope: Scope, run: Run) -> HttpResponse:
    """Start the retry of `run` and answer 202 with where to look for it."""
    if not scope.can_launch(run.workflow.slug):
        raise ApiError(403, "PERMISSION_DENIED", scope.refusal("run.launch"))
    with _refusals():
        started = retry(
            run,
            user=scope.user,
            source=_source(request),
            idempotency_key=_idempotency_key(request),
        )
    if not visible_runs(scope).filter(pk=started.run.pk).exists():
        detail = f"Somebody else has tried run {run.pk} again; you may not see that run."
        raise ApiError(409, "RUN_RETRIED", detail)
    return _respond(scope, started, 0)


def _deferred(
    scope: Scope, started: StartedRun, seconds: int, slot: WaitSlot, *, since: float
) -> HttpResponse:
    headers = _headers(started, seconds)
    # The run of an earlier request may have ended before this one began.
    begin = None if started.replayed else since
    wait = partial(_wait, scope, started.run, seconds, headers, begin, slot)
    return DeferredResponse(wait, status=202)


def _headers(started: StartedRun, seconds: int) -> dict[str, str]:
    headers = {"Preference-Applied": f"wait={seconds}"} if seconds else {}
    if started.replayed:
        headers |= {"Idempotent-Replayed": "true", "Original-Request-Id": str(started.run.pk)}
    return headers


def _respond(scope: Scope, started: StartedRun, seconds: int) -> HttpResponse:
    run, org, headers = started.run, scope.organisation.slug, _headers(started, seconds)
    if seconds:
        events.wait_until_finished(run.pk, timeout=seconds)
    if seconds or started.replayed or not default_task_backend.supports_defer:
        return _answer(scope, run, headers)
    return _accepted(run_documents.LaunchDocument.of_new(run, org), headers)


async def _wait(
    scope: Scope,
    run: Run,
    seconds: int,
    headers: dict[str, str],
    since: float | None,
    slot: WaitSlot,
) -> HttpResponse:
    """Return the answer when the run has ended, or after `seconds`."""
    answer = in_thread(_answer)
    try:
        async with asyncio.timeout(seconds):
            async for _ in events.changes(run.pk, ends_only=True, since=since):
                response = await answer(scope, run, headers)
                if response.status_code == HTTPStatus.CREATED:
                    return response
    except TimeoutError:
        pass
    finally:
        slot.release()
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


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (IntakeError, NotAdmitted) as error:
        errors = [{"field": error.field, "message": error.message}] if error.field else []
        headers: dict[str, str] = {}
        extra: dict[str, int] = {}
        if isinstance(error, CreditsExhausted):
            extra = {"balance": error.balance, "price": error.price}
        if isinstance(error, NotAdmitted):
            headers = error.headers
            errors = [
                {"field": f"metadata.{name}" if name else "metadata", "message": fault}
                for name, fault in error.inputs.items()
            ] or errors
        raise ApiError(
            error.status, error.code, error.message, errors=errors, headers=headers, **extra
        ) from error


def _source(request: Request) -> str:
    """Return the source of the run: the published client is known by its User-Agent."""
    agent = request.headers.get("User-Agent", "")
    return Run.Source.CLI if agent.startswith("validibot-cli/") else Run.Source.API


def _idempotency_key(request: Request) -> str:
    """Return the request's `Idempotency-Key`, or an empty string. Raises ApiError for a bad one."""
    key: str = request.headers.get("Idempotency-Key", "")
    if fault := text_fault(key, 255):
        code = "idempotency_key_too_long" if len(key) > 255 else "idempotency_key_invalid"
        raise ApiError(400, code, f"Idempotency-Key {fault}.")
    return key


def _wait_seconds(request: Request) -> int:
    """Return for how long `Prefer: wait=SECONDS` (RFC 7240) asks to wait, or 0."""
    match = _WAIT.search(request.headers.get("Prefer", ""))
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else 0
