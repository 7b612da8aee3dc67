"""Apply the answer of an attempt, however it was heard of, exactly once.

A receipt, unique on the callback id, is the fence: whoever claims it reads the output outside any
transaction and applies it in one. The run's row is locked first, without its key: whoever holds an
attempt and writes an event of the run must not have to wait for us, who wait for the attempt.
"""

import datetime as dt
import logging
import uuid
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from django.db import DatabaseError, DataError, IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from validibot.core.storage import StorageError
from validibot.engines import Document, EngineError
from validibot.engines.problems import storable
from validibot.runs import queue
from validibot.runs.events import record
from validibot.runs.findings.answer import BadAnswer, NoAnswer, read_answer, verdict_of
from validibot.runs.findings.close import Moved, close_step
from validibot.runs.findings.rules import apply_assertions
from validibot.runs.findings.verdict import Verdict, broken, judged
from validibot.runs.models import Attempt, Receipt, Run, RunEvent, StepRun
from validibot.runs.states import (
    ATTEMPT,
    AttemptState,
    ErrorCategory,
    ReceiptStatus,
    RunStatus,
    StepStatus,
    terminal,
)
from validibot.submissions import content

# Who claimed a receipt and has not applied it by then has died.
CLAIM = dt.timedelta(seconds=60)
_MAX_URI = 1000
_MAX_PAYLOAD_BYTES = 16 * 1024 * 1024

logger = logging.getLogger(__name__)


class Settled(Enum):
    APPLIED = "applied"
    REJECTED = "rejected"
    REPLAYED = "replayed"
    LATE = "late"
    BUSY = "busy"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settlement:
    """What became of an answer. `queue`: somebody must put the run on the queue again; `ended`:
    the run, if it came to its end."""

    how: Settled
    run_id: UUID
    message: str = ""
    queue: bool = False
    ended: Run | None = None


def settle(
    attempt: Attempt,
    *,
    result_uri: str,
    actor: str,
    epitaph: str = "",
    cause: ErrorCategory = ErrorCategory.RUNTIME_ERROR,
) -> Settlement:
    """Read the output of an attempt and apply it. `epitaph` and `cause` explain why there may be none.

    Raises StorageError when storage cannot be asked now: the same answer may be settled later.
    """
    run_id = attempt.step_run.run_id
    token = uuid.uuid4()
    refused = _claim(attempt, token, result_uri=result_uri, actor=actor)
    if refused:
        return Settlement(how=refused, run_id=run_id)
    try:
        verdict, rejected = _judge(attempt, result_uri, epitaph, cause)
    except StorageError:
        _held(attempt, token).update(claim_token=None, claimed_at=None)
        raise
    try:
        return _apply(attempt, token, verdict, rejected=rejected, actor=actor)
    except (DataError, IntegrityError):
        logger.exception("the output of attempt %s fits no column", attempt.pk)
        unfit = broken("The validator's output cannot be stored.", ErrorCategory.RUNTIME_ERROR)
        return _apply(attempt, token, unfit, rejected=True, actor=actor)
    except Moved:
        _held(attempt, token).update(status=ReceiptStatus.COMPLETED, claim_token=None)
        return Settlement(how=Settled.LATE, run_id=run_id)


def follow(settlement: Settlement) -> None:
    """Do what follows from an answer: go on with the run, or tell of its end."""
    if settlement.queue:
        queue.enqueue_run(settlement.run_id)
    if settlement.ended:
        queue.announce(settlement.ended)


def fail(attempt: Attempt, verdict: Verdict, state: AttemptState, *, actor: str) -> Settlement:
    """End an attempt that will not answer, and its run with it."""
    with transaction.atomic():
        run = _lock_run(attempt)
        if run is None or not attempt.move(state, error=verdict.error):
            return Settlement(how=Settled.LATE, run_id=attempt.step_run.run_id)
        return _close(run, attempt, verdict, actor=actor, how=Settled.APPLIED)


def _claim(attempt: Attempt, token: UUID, *, result_uri: str, actor: str) -> Settled | None:
    """Take the receipt; return why it cannot be taken."""
    now = timezone.now()
    with transaction.atomic():
        run = _lock_run(attempt)
        state = Attempt.objects.values_list("state", flat=True).get(pk=attempt.pk)
        receipt, created = Receipt.objects.get_or_create(
            callback_id=attempt.callback_id,
            defaults={
                "run_id": attempt.step_run.run_id,
                "attempt": attempt,
                "result_uri": storable(result_uri, _MAX_URI),
                "claim_token": token,
                "claimed_at": now,
            },
        )
        own = Receipt.objects.filter(pk=receipt.pk)
        if not created:
            own.update(deliveries=F("deliveries") + 1)
        if receipt.status != ReceiptStatus.PROCESSING:
            return Settled.REPLAYED
        if run is None or state in terminal(ATTEMPT):
            own.update(status=ReceiptStatus.COMPLETED, claim_token=None)
            return Settled.LATE
        if not created:
            if receipt.claim_token and receipt.claimed_at and receipt.claimed_at > now - CLAIM:
                return Settled.BUSY
            own.update(claim_token=token, claimed_at=now)
        if attempt.move(AttemptState.RUNNING, launched_at=now):
            # The callback is faster than the answer to the launch, and proves that it succeeded.
            _record_running(attempt, actor)
        Attempt.objects.filter(pk=attempt.pk, called_back_at=None).update(called_back_at=now)
        data = {"attempt": str(attempt.pk), "receipt": receipt.pk}
        event = RunEvent(step_run=attempt.step_run, kind="called_back", actor=actor, data=data)
        record(attempt.step_run.run_id, event)
    return None


def _record_running(attempt: Attempt, actor: str) -> None:
    data = {"attempt": str(attempt.pk)}
    event = RunEvent(step_run=attempt.step_run, kind="running", actor=actor, data=data)
    record(attempt.step_run.run_id, event)


def _judge(
    attempt: Attempt, result_uri: str, epitaph: str, cause: ErrorCategory
) -> tuple[Verdict, bool]:
    """Return the verdict of the stored output, and whether the answer was rejected."""
    try:
        envelope = read_answer(attempt, result_uri)
    except NoAnswer as error:
        return broken(f"{error} {epitaph}".strip(), cause), True
    except BadAnswer as error:
        return broken(str(error), ErrorCategory.RUNTIME_ERROR), True
    try:
        verdict = verdict_of(envelope, attempt)
        if verdict.status == StepStatus.PASSED:
            verdict = _with_assertions(attempt.step_run, verdict)
    except (StorageError, DatabaseError):
        raise
    except Exception:
        logger.exception("the output of attempt %s cannot be judged", attempt.pk)
        return broken("The validator's output could not be judged. We have been told."), True
    return verdict, False


def _with_assertions(step_run: StepRun, verdict: Verdict) -> Verdict:
    run = Run.objects.select_related("workflow", "submission").get(pk=step_run.run_id)
    earlier = StepRun.objects.filter(run=run, order__lt=step_run.order)
    submission = run.submission
    is_small = submission.size_bytes <= _MAX_PAYLOAD_BYTES
    asked = is_small and step_run.step.assertions.exists()
    body = content.read(submission, limit=_MAX_PAYLOAD_BYTES) if asked else b""
    try:
        noted = apply_assertions(
            step_run,
            document=Document(body, submission.filename, submission.mime_type),
            outputs=verdict.outputs,
            earlier={str(other.order): other.outputs for other in earlier},
            constants=run.workflow.constants,
        )
    except EngineError as error:
        return broken(str(error), findings=verdict.findings, artifacts=verdict.artifacts)
    return judged([*verdict.findings, *noted], outputs=verdict.outputs, artifacts=verdict.artifacts)


def _apply(
    attempt: Attempt, token: UUID, verdict: Verdict, *, rejected: bool, actor: str
) -> Settlement:
    with transaction.atomic():
        run = _lock_run(attempt)
        status = ReceiptStatus.REJECTED if rejected else ReceiptStatus.COMPLETED
        held = _held(attempt, token)
        if run is None or not held.update(status=status, error=verdict.error, claim_token=None):
            raise Moved
        if not attempt.move(_end_of(verdict, rejected=rejected), error=verdict.error):
            raise Moved
        how = Settled.REJECTED if rejected else Settled.APPLIED
        return _close(run, attempt, verdict, actor=actor, how=how)


def _close(run: Run, attempt: Attempt, verdict: Verdict, *, actor: str, how: Settled) -> Settlement:
    step_run = attempt.step_run
    last = not StepRun.objects.filter(run=run, order__gt=step_run.order).exists()
    held = Run.objects.filter(pk=run.pk, status=RunStatus.RUNNING)
    ended = close_step(held, step_run, verdict, last=last, actor=actor)
    # The worker that launched it may still hold the run; it then goes on by itself.
    free = run.lease_expires_at is None or run.lease_expires_at <= timezone.now()
    return Settlement(
        how=how,
        run_id=run.pk,
        message=verdict.error,
        queue=free and not ended,
        ended=run if ended else None,
    )


def _end_of(verdict: Verdict, *, rejected: bool) -> AttemptState:
    if rejected:
        return AttemptState.FAILED
    cancelled = verdict.run_status == RunStatus.CANCELED
    return AttemptState.CANCELED if cancelled else AttemptState.COMPLETED


def _lock_run(attempt: Attempt) -> Run | None:
    """Lock the run; None when it has ended."""
    run = Run.objects.select_for_update(no_key=True).get(pk=attempt.step_run.run_id)
    return run if run.status == RunStatus.RUNNING else None


def _held(attempt: Attempt, token: UUID) -> "QuerySet[Receipt]":
    return Receipt.objects.filter(
        callback_id=attempt.callback_id, claim_token=token, status=ReceiptStatus.PROCESSING
    )
