"""Launch the execution of a container step: at most one at a time, and never blindly again.

An attempt is allocated, its files and envelope are stored, and then the backend is called:

- it answers: the attempt is RUNNING, and is looked at until it has ended;
- it refuses for good: the step ends as an error;
- it certainly started nothing, or storage cannot be reached: the attempt is deleted, because nothing
  came of it, and the queue delivers the run again. An outage is no failure of an attempt;
- nobody knows whether it accepted: the attempt is UNKNOWN and is never launched again before a look
  has proved that there is no execution.

The answer may come late, after a callback or a cancellation; the execution is then only noted, and
cancelled if nobody waits for it. The callback's nonce is random, stands in the attempt's envelope,
and is kept as a keyed digest: whoever knows it has read that file.
"""

import datetime as dt
import hmac
import logging
import secrets
from functools import partial
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from validibot.core.storage import StorageError
from validibot.runs import queue, reconcile
from validibot.runs.backends import DEFAULT, get_backend
from validibot.runs.backends.base import (
    ExecutionBackend,
    Launch,
    LaunchError,
    LaunchRequest,
    StateUnavailable,
)
from validibot.runs.envelope import EnvelopeInvalid, store_envelope
from validibot.runs.events import record_attempt
from validibot.runs.grants import GrantRefused, ImageGrant, grant_to
from validibot.runs.lifecycle import StateMoved, end_attempt
from validibot.runs.models import Attempt, Run, StepRun
from validibot.runs.states import AttemptState, ErrorCategory
from validibot.runs.verdict import Verdict, broken

# An execution that was proved not to exist is launched again, so often in all.
MAX_ATTEMPTS = 5
CAPABILITY_PATH = "/internal/capabilities/"
# The time that a provider may take to start and stop an execution, on top of the validator's.
_GRACE = dt.timedelta(seconds=120)
_ACTOR = "worker"

logger = logging.getLogger(__name__)


class LaunchPostponed(Exception):
    """Nothing was started, through no fault of the step; the same launch may be tried again."""


def launch(run: Run, step_run: StepRun) -> Verdict | None:
    """Make sure that the step has an execution; return the verdict if it cannot have one.

    Raises LaunchPostponed, or StateMoved when the run has ended meanwhile.
    """
    backend = get_backend()
    attempt, nonce = _allocate(run, step_run)
    if attempt is None:
        return None
    if attempt.number > MAX_ATTEMPTS:
        last = step_run.attempts.get(number=attempt.number - 1)
        return broken(
            f"The validator could not be started in {MAX_ATTEMPTS} attempts. {last.error}".strip()
        )
    try:
        grant = grant_to(step_run.step.validator, backend)
        sha256 = store_envelope(attempt, step_run, run, nonce=nonce, backend=backend)
    except (EnvelopeInvalid, GrantRefused) as error:
        end_attempt(attempt, AttemptState.FAILED, error=str(error))
        return broken(str(error))
    except StorageError as error:
        raise _postponed(attempt, str(error)) from error
    with transaction.atomic():
        facts = {"input_sha256": sha256, "access": grant.access}
        if not attempt.advance(AttemptState.DISPATCHING, **facts):
            raise StateMoved
        record_attempt(attempt, "launched", actor=_ACTOR)
    try:
        launched = backend.launch(_request(attempt, step_run, grant))
    except LaunchError as error:
        logger.warning("launch of attempt %s: %s", attempt.pk, error)
        return _not_launched(attempt, step_run, error)
    _accepted(backend, attempt, step_run, launched)
    return None


def new_nonce() -> str:
    """Return 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def nonce_digest(nonce: str) -> str:
    """Return what is kept of a nonce: it is worth nothing without the application's key."""
    return salted_hmac("validibot.runs.nonce", nonce, algorithm="sha256").hexdigest()


def nonce_matches(nonce: str, expected: str) -> bool:
    """Compare a nonce with a kept digest in constant time."""
    return hmac.compare_digest(nonce_digest(nonce), expected)


def _allocate(run: Run, step_run: StepRun) -> tuple[Attempt | None, str]:
    """Create the next attempt and its nonce; return None when there is one to wait for."""
    with transaction.atomic():
        StepRun.objects.select_for_update(no_key=True).get(pk=step_run.pk)
        latest = step_run.attempts.order_by("-number").first()
        if latest and _is_under_way(latest):
            return None, ""
        nonce = new_nonce()
        return _new_attempt(run, step_run, nonce, number=latest.number + 1 if latest else 1), nonce


def _is_under_way(attempt: Attempt) -> bool:
    """Decide what becomes of the attempt that a dead worker left behind."""
    if attempt.state == AttemptState.PENDING:
        end_attempt(attempt, AttemptState.FAILED, error="The worker died before the launch.")
    if attempt.state == AttemptState.DISPATCHING:
        attempt.advance(AttemptState.UNKNOWN, error="The worker died during the launch.")
        queue.enqueue_watch(attempt.pk)
    return attempt.state in (AttemptState.RUNNING, AttemptState.UNKNOWN)


def _new_attempt(run: Run, step_run: StepRun, nonce: str, *, number: int) -> Attempt:
    attempt_id = uuid4()
    seconds = step_run.step.validator.timeout_seconds
    folder = f"{settings.DATA_ROOT}/runs/{run.organisation_id}/{run.pk}/attempts/{attempt_id}"
    return Attempt.objects.create(
        id=attempt_id,
        step_run=step_run,
        number=number,
        backend=DEFAULT,
        image=step_run.image,
        nonce_digest=nonce_digest(nonce),
        bundle_uri=folder,
        input_uri=f"{folder}/input.json",
        output_uri=f"{folder}/output.json",
        timeout_at=timezone.now() + dt.timedelta(seconds=seconds) + _GRACE,
    )


def _postponed(attempt: Attempt, message: str) -> LaunchPostponed:
    Attempt.objects.filter(pk=attempt.pk, state=attempt.state).delete()
    return LaunchPostponed(message)


def _not_launched(attempt: Attempt, step_run: StepRun, error: LaunchError) -> Verdict | None:
    """Deal with a launch that failed, or may have failed."""
    if error.permanent:
        end_attempt(attempt, AttemptState.FAILED, error=str(error))
        message = f"The validator could not be started: {error}"
        return broken(message, ErrorCategory.RUNTIME_ERROR)
    if error.not_accepted:
        raise _postponed(attempt, str(error)) from error
    with transaction.atomic():
        attempt.advance(AttemptState.UNKNOWN, error=str(error))
        record_attempt(attempt, "launch_unanswered", actor=_ACTOR, message=str(error))
    queue.enqueue_watch(attempt.pk)
    return None


def _accepted(
    backend: ExecutionBackend, attempt: Attempt, step_run: StepRun, launched: Launch
) -> None:
    facts: dict[str, Any] = {"execution": launched.execution, "launched_at": timezone.now()}
    if launched.image_digest:
        facts["image_digest"] = launched.image_digest
    if launched.secrets:
        # A job may have been made anew since the references were read.
        facts["access"] = {**attempt.access, "secrets": dict(launched.secrets)}
    with transaction.atomic():
        running = attempt.advance(AttemptState.RUNNING, **facts)
        if running:
            record_attempt(attempt, "running", actor=_ACTOR, execution=launched.execution)
    if running:
        queue.enqueue_watch(attempt.pk)
    else:
        _record_late_launch_result(backend, attempt, facts)


def _record_late_launch_result(
    backend: ExecutionBackend, attempt: Attempt, facts: dict[str, object]
) -> None:
    """Note an execution whose callback came first, or whose attempt has ended meanwhile."""
    # A sweep may have believed that there is no execution to cancel.
    Attempt.objects.filter(pk=attempt.pk, cancel_requested_at__isnull=False).update(
        execution_ended_at=None
    )
    Attempt.objects.filter(pk=attempt.pk).update(**facts)
    attempt.refresh_from_db()
    reconcile.ask_image(attempt)
    if attempt.cancel_requested_at:
        try:
            backend.cancel(attempt.execution)
        except StateUnavailable as error:
            logger.warning("the sweep has to cancel attempt %s: %s", attempt.pk, error)


def _request(attempt: Attempt, step_run: StepRun, grant: ImageGrant) -> LaunchRequest:
    validator = step_run.step.validator
    return LaunchRequest(
        run_id=step_run.run_id,
        attempt_id=attempt.pk,
        job=validator.job,
        image=attempt.image,
        command=validator.command,
        input_uri=attempt.input_uri,
        output_uri=attempt.output_uri,
        capability_url=f"{settings.WORKER_URL}{CAPABILITY_PATH}",
        timeout_seconds=validator.timeout_seconds,
        memory_mb=validator.memory_mb,
        network=grant.network,
        secrets=grant.secrets,
        on_end=partial(reconcile.on_execution_end, attempt.pk),
    )
