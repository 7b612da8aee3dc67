"""Start the execution of a container step: at most one at a time, and never blindly again."""

import datetime as dt
import logging
from functools import partial
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from validibot.runs import queue, reconcile
from validibot.runs.backends import DEFAULT, get_backend
from validibot.runs.backends.base import (
    ExecutionBackend,
    Launch,
    LaunchError,
    LaunchRequest,
    StateUnavailable,
)
from validibot.runs.events import record
from validibot.runs.findings import Moved, Verdict, broken
from validibot.runs.launch.envelope import EnvelopeInvalid, store_envelope
from validibot.runs.launch.nonce import digest, new_nonce
from validibot.runs.models import Attempt, Run, RunEvent, StepRun
from validibot.runs.states import AttemptState, ErrorCategory

# An execution that was proved not to exist is launched again, so often in all.
MAX_ATTEMPTS = 5
CAPABILITY_PATH = "/internal/capabilities/"
# What a provider may take to start and stop an execution, on top of the validator's time.
_GRACE = dt.timedelta(seconds=120)
_ACTOR = "worker"

logger = logging.getLogger(__name__)


def launch(run: Run, step_run: StepRun) -> Verdict | None:
    """See to it that the step has an execution; return the verdict if it cannot have one.

    Raises StorageError when the files cannot be written now, Moved when the run was cancelled.
    """
    backend = get_backend()
    attempt, nonce = _allocate(run, step_run)
    if attempt is None:
        return None
    if attempt.number > MAX_ATTEMPTS:
        attempt.move(AttemptState.FAILED, error="One attempt too many.")
        last = step_run.attempts.get(number=attempt.number - 1)
        many = f"The validator could not be started in {MAX_ATTEMPTS} attempts."
        return broken(f"{many} {last.error}".strip())
    try:
        sha256 = store_envelope(attempt, step_run, run, nonce=nonce, backend=backend)
    except EnvelopeInvalid as error:
        attempt.move(AttemptState.FAILED, error=str(error))
        return broken(str(error))
    with transaction.atomic():
        if not attempt.move(AttemptState.DISPATCHING, input_sha256=sha256):
            raise Moved
        _record(attempt, step_run, "launched")
    return _dispatch(backend, attempt, step_run)


def _allocate(run: Run, step_run: StepRun) -> tuple[Attempt | None, str]:
    """Make the next attempt; None when there is one to wait for."""
    with transaction.atomic():
        StepRun.objects.select_for_update(no_key=True).get(pk=step_run.pk)
        latest = step_run.attempts.order_by("-number").first()
        if latest and _worth_waiting_for(latest):
            return None, ""
        nonce = new_nonce()
        return _new_attempt(run, step_run, nonce, number=latest.number + 1 if latest else 1), nonce


def _worth_waiting_for(attempt: Attempt) -> bool:
    """Decide what becomes of the attempt that a dead worker left behind."""
    if attempt.state == AttemptState.PENDING:
        attempt.move(AttemptState.FAILED, error="The worker died before the launch.")
    if attempt.state == AttemptState.DISPATCHING:
        attempt.move(AttemptState.UNKNOWN, error="The worker died during the launch.")
        queue.enqueue_watch(attempt.pk)
    return attempt.state in (AttemptState.RUNNING, AttemptState.UNKNOWN)


def _new_attempt(run: Run, step_run: StepRun, nonce: str, *, number: int) -> Attempt:
    attempt_id = uuid4()
    validator = step_run.step.validator
    folder = f"{settings.DATA_ROOT}/runs/{run.organisation_id}/{run.pk}/attempts/{attempt_id}"
    return Attempt.objects.create(
        id=attempt_id,
        step_run=step_run,
        number=number,
        backend=DEFAULT,
        image=validator.image,
        nonce_digest=digest(nonce),
        bundle_uri=folder,
        input_uri=f"{folder}/input.json",
        output_uri=f"{folder}/output.json",
        timeout_at=timezone.now() + dt.timedelta(seconds=validator.timeout_seconds) + _GRACE,
    )


def _dispatch(backend: ExecutionBackend, attempt: Attempt, step_run: StepRun) -> Verdict | None:
    try:
        launched = backend.launch(_request(attempt, step_run))
    except LaunchError as error:
        logger.warning("launch of attempt %s: %s", attempt.pk, error)
        if error.permanent:
            attempt.move(AttemptState.FAILED, error=str(error))
            return broken(
                f"The validator could not be started: {error}", ErrorCategory.RUNTIME_ERROR
            )
        with transaction.atomic():
            attempt.move(AttemptState.UNKNOWN, error=str(error))
            _record(attempt, step_run, "launch_unanswered", message=str(error))
        queue.enqueue_watch(attempt.pk)
        return None
    _accepted(backend, attempt, step_run, launched)
    return None


def _accepted(
    backend: ExecutionBackend, attempt: Attempt, step_run: StepRun, launched: Launch
) -> None:
    named = {
        "execution": launched.execution,
        "image_digest": launched.image_digest,
        "launched_at": timezone.now(),
    }
    with transaction.atomic():
        running = attempt.move(AttemptState.RUNNING, **named)
        if running:
            _record(attempt, step_run, "running", execution=launched.execution)
    if running:
        queue.enqueue_watch(attempt.pk)
    else:
        _record_late_launch_result(backend, attempt, launched)


def _record_late_launch_result(
    backend: ExecutionBackend, attempt: Attempt, launched: Launch
) -> None:
    """The callback was faster than the answer to the launch, or the run was cancelled meanwhile."""
    told = {"execution": launched.execution}
    if launched.image_digest:
        told["image_digest"] = launched.image_digest
    Attempt.objects.filter(pk=attempt.pk).update(**told)
    attempt.refresh_from_db(fields=["state", *told])
    reconcile.ask_image(attempt)
    if attempt.state == AttemptState.CANCELED:
        try:
            backend.cancel(launched.execution)
        except StateUnavailable as error:
            logger.warning("execution of a cancelled run goes on: %s", error)


def _request(attempt: Attempt, step_run: StepRun) -> LaunchRequest:
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
        on_end=partial(reconcile.on_execution_end, attempt.pk),
    )


def _record(
    attempt: Attempt, step_run: StepRun, kind: str, *, message: str = "", execution: str = ""
) -> None:
    data = {"attempt": str(attempt.pk)} | ({"execution": execution} if execution else {})
    event = RunEvent(step_run=step_run, kind=kind, actor=_ACTOR, message=message, data=data)
    record(step_run.run_id, event)
