"""Find what was lost: executions that ended in silence, runs that nobody goes on with."""

import datetime as dt
import logging
from collections.abc import Set as AbstractSet
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from validibot.core.logging import bound_run
from validibot.core.storage import StorageError, get_storage
from validibot.runs import queue
from validibot.runs.backends import get_backend
from validibot.runs.backends.base import ENDED, ExecutionState, Phase, StateUnavailable
from validibot.runs.events import record, release_connection
from validibot.runs.findings import Settled, fail, follow, settle, timed_out
from validibot.runs.models import Attempt, Run, RunEvent
from validibot.runs.states import (
    ACTIVE_ATTEMPT,
    AttemptState,
    ErrorCategory,
    RunStatus,
)

# After so long a provider lists an execution that it accepted.
ABSENCE_GRACE = dt.timedelta(seconds=10)
# How long past its time an execution is waited for while its provider cannot be asked.
SILENCE_GRACE = dt.timedelta(seconds=300)
BATCH = 200
_ACTOR = "reconcile"

logger = logging.getLogger(__name__)


def on_execution_end(attempt_id: UUID, state: ExecutionState) -> None:
    """Apply the end of an execution that its backend has watched, from the backend's thread."""
    try:
        attempt = _attempt(attempt_id)
        if attempt.state in ACTIVE_ATTEMPT:
            with bound_run(attempt.step_run.run_id):
                _note_found(attempt, state)
                _conclude(attempt, state)
    except StorageError as error:
        logger.warning("attempt %s is looked at later: %s", attempt_id, error)
    finally:
        release_connection()


def time_out(attempt_id: UUID) -> None:
    """Look at an attempt as if its time were over."""
    try:
        look(attempt_id, overdue=True)
    except StorageError as error:
        logger.warning("attempt %s is looked at later: %s", attempt_id, error)


def look(attempt_id: UUID, *, overdue: bool = False) -> bool:
    """Bring an attempt to where its execution is; return whether it is still going on.

    `overdue`: its time counts as over. Raises StorageError when the output cannot be read now.
    """
    attempt = _attempt(attempt_id)
    if attempt.state not in ACTIVE_ATTEMPT - {AttemptState.PENDING}:
        return False
    with bound_run(attempt.step_run.run_id):
        state = _ask(attempt)
        _note_image(attempt, state)
        if state.phase in ENDED | {Phase.RUNNING}:
            _note_found(attempt, state)
        if state.phase in ENDED:
            return _conclude(attempt, state)
        if state.phase is Phase.ABSENT:
            return not _give_up_launch(attempt)
        is_over = overdue or _is_over(attempt, heard=state.phase is Phase.RUNNING)
        return not (is_over and _time_out(attempt))


def ask_image(attempt: Attempt) -> None:
    """Ask for the image digest, which some providers learn only after the launch."""
    if attempt.image_digest or not attempt.execution:
        return
    try:
        state = get_backend(attempt.backend).state(attempt.execution)
    except StateUnavailable:
        return
    _note_image(attempt, state)


def _note_image(attempt: Attempt, state: ExecutionState) -> None:
    if state.image_digest and not attempt.image_digest:
        attempt.image_digest = state.image_digest
        attempt.save(update_fields=["image_digest"])


def reconcile_all() -> dict[str, int]:
    """Sweep through everything unfinished; return how much was touched."""
    now = timezone.now()
    runs = _lost_runs(now)
    for run_id in runs:
        queue.enqueue_run(run_id)
    attempts = list(
        Attempt.objects.filter(
            state__in=ACTIVE_ATTEMPT - {AttemptState.PENDING},
            created_at__lt=now - dt.timedelta(seconds=settings.RUN_PENDING_SECONDS),
        ).values_list("pk", flat=True)[:BATCH]
    )
    for attempt_id in attempts:
        try:
            look(attempt_id)
        except StorageError as error:
            logger.warning("attempt %s is looked at later: %s", attempt_id, error)
        except DatabaseError:
            raise
        except Exception:  # one that we stumble over must not hide the others
            logger.exception("attempt %s cannot be looked at", attempt_id)
    _tidy()
    return {"enqueued": len(runs), "looked_at": len(attempts)}


def _tidy() -> None:
    """Let backends remove what is left of attempts that nobody waits for any more."""
    for alias in settings.EXECUTION_BACKENDS:
        try:
            get_backend(alias).sweep(_over)
        except StateUnavailable as error:
            logger.warning("backend %s is tidied up later: %s", alias, error)


def _over(attempts: AbstractSet[UUID]) -> AbstractSet[UUID]:
    active = Attempt.objects.filter(pk__in=attempts, state__in=ACTIVE_ATTEMPT)
    return attempts - set(active.values_list("pk", flat=True))


def _lost_runs(now: dt.datetime) -> list[UUID]:
    """Claim the runs that should be on the queue and may not be; a second sweep passes them by."""
    waiting = Attempt.objects.filter(step_run__run=OuterRef("pk"), state__in=ACTIVE_ATTEMPT)
    free = Q(lease_expires_at=None) & ~Exists(waiting)
    lost = Run.objects.filter(
        Q(status=RunStatus.PENDING)
        | Q(status=RunStatus.RUNNING) & (Q(lease_expires_at__lt=now) | free),
        enqueued_at__lt=now - dt.timedelta(seconds=settings.RUN_PENDING_SECONDS),
    )
    with transaction.atomic():
        free_rows = lost.select_for_update(skip_locked=True, no_key=True)
        claimed = list(free_rows.values_list("pk", flat=True)[:BATCH])
        Run.objects.filter(pk__in=claimed).update(enqueued_at=now)
    return claimed


def _attempt(attempt_id: UUID) -> Attempt:
    return Attempt.objects.select_related("step_run__step__validator").get(pk=attempt_id)


def _ask(attempt: Attempt) -> ExecutionState:
    backend = get_backend(attempt.backend)
    try:
        if attempt.execution:
            return backend.state(attempt.execution)
        job = attempt.step_run.step.validator.job
        return backend.find(job=job, input_uri=attempt.input_uri)
    except StateUnavailable as error:
        logger.warning("attempt %s: %s", attempt.pk, error)
        return ExecutionState(phase=Phase.UNKNOWN, message=str(error))


def _conclude(attempt: Attempt, state: ExecutionState) -> bool:
    """Apply what an execution left: its output if there is one. Return whether that must wait."""
    if state.phase is Phase.TIMED_OUT:
        return not _time_out(attempt)
    settlement = settle(
        attempt,
        result_uri=attempt.output_uri,
        actor=_ACTOR,
        epitaph=state.message,
        cause=ErrorCategory.OOM if state.out_of_memory else ErrorCategory.RUNTIME_ERROR,
    )
    follow(settlement)
    return settlement.how is Settled.BUSY


def _note_found(attempt: Attempt, state: ExecutionState) -> None:
    """Remember an execution whose launch had no answer."""
    if attempt.execution:
        return
    with transaction.atomic():
        if attempt.move(
            AttemptState.RUNNING,
            execution=state.execution,
            launched_at=timezone.now(),
        ):
            _record(attempt, "running", execution=state.execution)


def _give_up_launch(attempt: Attempt) -> bool:
    """No execution exists: the launch did not happen and may be repeated. Return whether it was."""
    if timezone.now() < attempt.created_at + ABSENCE_GRACE:
        return False
    with transaction.atomic():
        if attempt.state != AttemptState.UNKNOWN or not attempt.move(AttemptState.FAILED):
            return False
        _record(attempt, "launch_failed")
    queue.enqueue_run(attempt.step_run.run_id)
    return True


def _is_over(attempt: Attempt, *, heard: bool) -> bool:
    deadline = attempt.timeout_at if heard else attempt.timeout_at + SILENCE_GRACE
    return timezone.now() >= deadline


def _time_out(attempt: Attempt) -> bool:
    """End an attempt whose time is over, unless it has answered. Return whether it has ended."""
    if get_storage(attempt.output_uri).current(attempt.output_uri):
        return not _conclude(attempt, ExecutionState(phase=Phase.UNKNOWN))
    seconds = attempt.step_run.step.validator.timeout_seconds
    error = f"The validator did not answer within its {seconds} seconds."
    if attempt.state == AttemptState.UNKNOWN:
        error += f" Its launch had no answer: {attempt.error}"
    follow(fail(attempt, timed_out(error), AttemptState.TIMED_OUT, actor=_ACTOR))
    queue.enqueue_cancel(attempt.pk)
    return True


def _record(attempt: Attempt, kind: str, *, execution: str = "") -> None:
    data = {"attempt": str(attempt.pk)} | ({"execution": execution} if execution else {})
    event = RunEvent(step_run=attempt.step_run, kind=kind, actor=_ACTOR, data=data)
    record(attempt.step_run.run_id, event)
