"""Bring attempts in line with their executions, where no callback did.

Tasks look at an attempt less and less often after its launch, the sweep looks at all, and a backend
that watches its executions reports their end. The provider says where the execution is; only the
stored output says what it came to. An attempt that has no execution after `ABSENCE_GRACE` was never
launched and may be launched again. An attempt past its time ends as TIMED_OUT.

An attempt that ended while its execution may live is marked (`Attempt.cancel_requested_at`);
`stop_execution` cancels until the provider says that the execution has ended.
"""

import datetime as dt
import logging
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from validibot.core.logging import bound_run
from validibot.core.storage import StorageError, get_storage
from validibot.engines import EngineBusy
from validibot.runs import queue
from validibot.runs.backends import get_backend
from validibot.runs.backends.base import ENDED, ExecutionState, Phase, StateUnavailable
from validibot.runs.events import record_attempt, release_connection
from validibot.runs.lifecycle import end_attempt
from validibot.runs.models import Attempt, Run
from validibot.runs.outcome import apply_end, apply_verdict
from validibot.runs.states import ACTIVE_ATTEMPT, RUN, AttemptState, RunStatus, terminal
from validibot.runs.verdict import timed_out

# After so long a provider lists an execution that it accepted.
ABSENCE_GRACE = dt.timedelta(seconds=10)
# The same for a cancelled attempt, whose launch may still be on its way to the provider.
CANCEL_ABSENCE_GRACE = dt.timedelta(seconds=60)
# How long past its time an execution is waited for while its provider cannot be asked.
SILENCE_GRACE = dt.timedelta(seconds=300)
_ACTOR = "reconcile"

logger = logging.getLogger(__name__)


def look(attempt_id: UUID, *, overdue: bool = False) -> bool:
    """Bring an attempt to where its execution is; return whether it is still going on.

    `overdue`: its time counts as over. An attempt that was deleted is not going on. Raises
    StorageError or EngineBusy when the output cannot be read or checked now.
    """
    attempt = load_attempt(attempt_id)
    if attempt is None or attempt.state not in ACTIVE_ATTEMPT - {AttemptState.PENDING}:
        return False
    with bound_run(attempt.step_run.run_id):
        if attempt.step_run.run.status in terminal(RUN):
            # Of an earlier version, or written by hand: no run ends without its attempts.
            end_attempt(attempt, AttemptState.FAILED, may_still_run=True)
            return False
        state = _ask(attempt)
        note_image(attempt, state)
        if state.phase in ENDED | {Phase.RUNNING}:
            _note_found(attempt, state)
        return not _has_ended(attempt, state, overdue=overdue)


def _has_ended(attempt: Attempt, state: ExecutionState, *, overdue: bool) -> bool:
    """End the attempt if its execution has ended, is absent or is out of time."""
    if state.phase in ENDED:
        _conclude(attempt, state)
        return True
    if state.phase is Phase.ABSENT:
        return _give_up_launch(attempt)
    is_over = overdue or _is_over(attempt, answered=state.phase is Phase.RUNNING)
    if is_over:
        _time_out(attempt, may_still_run=True)
    return is_over


def on_execution_end(attempt_id: UUID, state: ExecutionState) -> None:
    """Apply the end of an execution that its backend has watched, from the backend's thread."""
    try:
        attempt = load_attempt(attempt_id)
        if attempt is None:
            return
        Attempt.objects.filter(pk=attempt_id).update(execution_ended_at=timezone.now())
        if attempt.state in ACTIVE_ATTEMPT:
            with bound_run(attempt.step_run.run_id):
                _note_found(attempt, state)
                _conclude(attempt, state)
    except (StorageError, EngineBusy) as error:
        logger.warning("attempt %s is looked at later: %s", attempt_id, error)
    finally:
        release_connection()


def time_out(attempt_id: UUID) -> None:
    """Look at an attempt as if its time were over."""
    try:
        look(attempt_id, overdue=True)
    except (StorageError, EngineBusy) as error:
        logger.warning("attempt %s is looked at later: %s", attempt_id, error)


def stop_execution(attempt: Attempt) -> bool:
    """Cancel the execution of a marked attempt; return whether it is known to have ended.

    Raises StateUnavailable.
    """
    now = timezone.now()
    backend = get_backend(attempt.backend)
    state = _state(attempt)
    absent_since = (attempt.cancel_requested_at or now) + CANCEL_ABSENCE_GRACE
    has_ended = (
        state.phase in ENDED
        or (state.phase is Phase.ABSENT and now >= absent_since)
        # The provider does not know it, and its own limit has ended it.
        or (state.phase is Phase.UNKNOWN and now >= attempt.timeout_at + SILENCE_GRACE)
    )
    if has_ended:
        Attempt.objects.filter(pk=attempt.pk).update(execution_ended_at=now)
        return True
    execution = attempt.execution or state.execution
    if execution and state.phase in (Phase.RUNNING, Phase.UNKNOWN):
        backend.cancel(execution)
    return False


def ask_image(attempt: Attempt) -> None:
    """Ask for the image digest, which some providers learn only after the launch."""
    if attempt.image_digest or not attempt.execution:
        return
    try:
        state = get_backend(attempt.backend).state(attempt.execution)
    except StateUnavailable:
        return
    note_image(attempt, state)


def note_image(attempt: Attempt, state: ExecutionState) -> None:
    """Store the image digest that a provider tells, once."""
    if state.image_digest and not attempt.image_digest:
        attempt.image_digest = state.image_digest
        attempt.save(update_fields=["image_digest"])


def load_attempt(attempt_id: UUID) -> Attempt | None:
    """Return an attempt with what is needed to go on with it; None if it was deleted."""
    attempts = Attempt.objects.select_related("step_run__run", "step_run__step__validator")
    return attempts.filter(pk=attempt_id).first()


def _state(attempt: Attempt) -> ExecutionState:
    backend = get_backend(attempt.backend)
    if attempt.execution:
        return backend.state(attempt.execution)
    return backend.find(job=attempt.step_run.step.validator.job, input_uri=attempt.input_uri)


def _ask(attempt: Attempt) -> ExecutionState:
    try:
        return _state(attempt)
    except StateUnavailable as error:
        logger.warning("attempt %s: %s", attempt.pk, error)
        return ExecutionState(phase=Phase.UNKNOWN, message=str(error))


def _conclude(attempt: Attempt, state: ExecutionState) -> None:
    """Apply what an ended execution left. Raises StorageError."""
    if state.phase is Phase.TIMED_OUT:
        _time_out(attempt, may_still_run=False)
    else:
        apply_end(attempt, state)


def _note_found(attempt: Attempt, state: ExecutionState) -> None:
    """Store the name of an execution whose launch had no answer."""
    if attempt.execution:
        return
    found = {"execution": state.execution, "launched_at": timezone.now()}
    with transaction.atomic():
        if attempt.advance(AttemptState.RUNNING, **found):
            record_attempt(attempt, "running", actor=_ACTOR, execution=state.execution)


def _give_up_launch(attempt: Attempt) -> bool:
    """End an attempt that has no execution, so that another one is made; return whether it ended."""
    now = timezone.now()
    if now < attempt.created_at + ABSENCE_GRACE or attempt.state != AttemptState.UNKNOWN:
        return False
    with transaction.atomic():
        run = Run.objects.select_for_update(no_key=True).get(pk=attempt.step_run.run_id)
        if not end_attempt(attempt, AttemptState.FAILED):
            return False
        record_attempt(attempt, "launch_failed", actor=_ACTOR)
        if run.status == RunStatus.RUNNING:
            run.enqueued_at = now
            Run.objects.filter(pk=run.pk).update(enqueued_at=now, checked_at=None)
            queue.enqueue_run(run)
    return True


def _is_over(attempt: Attempt, *, answered: bool) -> bool:
    deadline = attempt.timeout_at if answered else attempt.timeout_at + SILENCE_GRACE
    return timezone.now() >= deadline


def _time_out(attempt: Attempt, *, may_still_run: bool) -> None:
    """End an attempt whose time is over, unless it has an output. Raises StorageError."""
    if get_storage(attempt.output_uri).current(attempt.output_uri):
        apply_end(attempt, ExecutionState(phase=Phase.UNKNOWN))
        return
    seconds = attempt.step_run.step.validator.timeout_seconds
    error = f"The validator did not answer within its {seconds} seconds."
    if attempt.state == AttemptState.UNKNOWN:
        error += f" Its launch had no answer: {attempt.error}"
    apply_verdict(attempt, timed_out(error), AttemptState.TIMED_OUT, may_still_run=may_still_run)
