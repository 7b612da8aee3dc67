"""The outcome of an attempt: read, judged and applied exactly once, whoever brings the news.

A validator calls back, or reconciling finds that its execution has ended. In both cases the stored
output is read and judged outside any transaction and then applied in one, which ends the attempt by
a conditional update: of two that do the same work one succeeds. A callback also has a receipt,
unique on the callback's id, that tells a repeated delivery what became of the first one; whoever
claims it and dies is replaced after `CLAIM`.

The run's row is locked first, without its key: code that holds an attempt and writes an event of the
run (which refers to the run) must not wait for us while we wait for the attempt.
"""

import datetime as dt
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from django.db import DatabaseError, DataError, IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from validibot.core.storage import StorageError
from validibot.engines import Document, EngineBusy, EngineError
from validibot.engines.problems import storable
from validibot.runs import queue
from validibot.runs.backends.base import ExecutionState
from validibot.runs.events import record
from validibot.runs.lifecycle import StateMoved, close_step, end_attempt
from validibot.runs.models import Attempt, CallbackReceipt, Run, RunEvent, StepRun
from validibot.runs.output import OutputInvalid, OutputMissing, read_output, verdict_of
from validibot.runs.states import (
    ATTEMPT,
    AttemptState,
    ErrorCategory,
    ReceiptStatus,
    RunStatus,
    StepStatus,
    terminal,
)
from validibot.runs.verdict import (
    MAX_PAYLOAD_BYTES,
    Verdict,
    assertion_rows,
    assertions_of,
    broken,
    complete,
    uses_expressions,
)
from validibot.submissions import content

# A receipt that was claimed so long ago and is not applied belongs to a worker that has died.
CLAIM = dt.timedelta(seconds=60)
_MAX_URI = 1000
_CALLBACK_ACTOR = "validator"
_RECONCILE_ACTOR = "reconcile"

logger = logging.getLogger(__name__)


class ApplyResult(Enum):
    """Result of applying the outcome of an attempt.

    REJECTED: it was applied as an error. REPLAYED, LATE: it was applied before; the attempt had
    ended before. BUSY: it is being applied by somebody else.
    """

    APPLIED = "applied"
    REJECTED = "rejected"
    REPLAYED = "replayed"
    LATE = "late"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict of an attempt, and the state in which the attempt ends.

    `found`: there was an output. `rejected`: it was none of this attempt, or there was none.
    """

    verdict: Verdict
    state: AttemptState
    found: bool = True

    @property
    def rejected(self) -> bool:
        return self.state == AttemptState.FAILED


def apply_callback(attempt: Attempt, *, result_uri: str) -> tuple[ApplyResult, str]:
    """Apply the output that a callback announces; return the outcome and an error message.

    Raises StorageError or EngineBusy when the output cannot be read or checked now: the same
    callback may come again.
    """
    token = uuid.uuid4()
    if refused := _claim(attempt, token, result_uri=result_uri):
        return refused, ""
    claimed = CallbackReceipt.objects.filter(
        callback_id=attempt.callback_id, claim_token=token, status=ReceiptStatus.PROCESSING
    )
    try:
        judgement = _judge(attempt, result_uri)
    except (StorageError, EngineBusy):
        claimed.update(claim_token=None, claimed_at=None)
        raise
    outcome = _apply(attempt, judgement, actor=_CALLBACK_ACTOR, claimed=claimed)
    if outcome is ApplyResult.LATE:
        claimed.update(status=ReceiptStatus.COMPLETED, claim_token=None)
    return outcome, judgement.verdict.error


def apply_end(attempt: Attempt, state: ExecutionState) -> ApplyResult:
    """Apply what an execution left that has ended: its output, or that there is none.

    Raises StorageError or EngineBusy when the output cannot be read or checked now.
    """
    cause = ErrorCategory.OOM if state.out_of_memory else ErrorCategory.RUNTIME_ERROR
    judgement = _judge(attempt, attempt.output_uri, failure_message=state.message, cause=cause)
    data = {"attempt": str(attempt.pk)}
    event = RunEvent(
        step_run=attempt.step_run, kind="output_found", actor=_RECONCILE_ACTOR, data=data
    )
    found = [event] if judgement.found else []
    return _apply(attempt, judgement, actor=_RECONCILE_ACTOR, events=found)


def apply_verdict(
    attempt: Attempt, verdict: Verdict, state: AttemptState, *, may_still_run: bool
) -> ApplyResult:
    """End an attempt that will not answer, and its run with it."""
    judgement = Judgement(verdict, state, found=False)
    return _apply(attempt, judgement, actor=_RECONCILE_ACTOR, may_still_run=may_still_run)


def _claim(attempt: Attempt, token: UUID, *, result_uri: str) -> ApplyResult | None:
    """Claim the receipt of a callback; return why it cannot be claimed."""
    now = timezone.now()
    with transaction.atomic():
        run = _lock_run(attempt)
        state = Attempt.objects.values_list("state", flat=True).get(pk=attempt.pk)
        receipt, created = CallbackReceipt.objects.get_or_create(
            callback_id=attempt.callback_id,
            defaults={
                "run_id": attempt.step_run.run_id,
                "attempt": attempt,
                "result_uri": storable(result_uri, _MAX_URI),
                "claim_token": token,
                "claimed_at": now,
            },
        )
        own = CallbackReceipt.objects.filter(pk=receipt.pk)
        if not created:
            own.update(deliveries=F("deliveries") + 1)
        if receipt.status != ReceiptStatus.PROCESSING:
            return ApplyResult.REPLAYED
        if run is None or state in terminal(ATTEMPT):
            own.update(status=ReceiptStatus.COMPLETED, claim_token=None)
            return ApplyResult.LATE
        if created:
            _record_callback(attempt, receipt, now=now)
            return None
        claimed_at = receipt.claimed_at if receipt.claim_token else None
        if claimed_at and claimed_at > now - CLAIM:
            return ApplyResult.BUSY
        own.update(claim_token=token, claimed_at=now)
    return None


def _record_callback(attempt: Attempt, receipt: CallbackReceipt, *, now: dt.datetime) -> None:
    """Write the events of a first callback, which may be faster than the answer to the launch."""
    data = {"attempt": str(attempt.pk)}
    events = []
    if attempt.advance(AttemptState.RUNNING, launched_at=now):
        events.append(RunEvent(kind="running", data=data))
    Attempt.objects.filter(pk=attempt.pk, called_back_at=None).update(called_back_at=now)
    events.append(RunEvent(kind="called_back", data={**data, "receipt": receipt.pk}))
    for event in events:
        event.step_run, event.actor = attempt.step_run, _CALLBACK_ACTOR
    record(attempt.step_run.run_id, *events)


def _judge(
    attempt: Attempt,
    result_uri: str,
    *,
    failure_message: str = "",
    cause: ErrorCategory = ErrorCategory.RUNTIME_ERROR,
) -> Judgement:
    """Judge the stored output; `failure_message` and `cause` explain why there may be none."""
    try:
        envelope = read_output(attempt, result_uri)
        verdict = verdict_of(envelope, attempt)
        if verdict.status == StepStatus.PASSED or (
            verdict.category == ErrorCategory.VALIDATION_FAILED
        ):
            verdict = _completed(attempt.step_run, verdict)
    except OutputMissing as error:
        verdict = broken(f"{error} {failure_message}".strip(), cause)
        return Judgement(verdict, AttemptState.FAILED, found=False)
    except OutputInvalid as error:
        return Judgement(broken(str(error), ErrorCategory.RUNTIME_ERROR), AttemptState.FAILED)
    except (StorageError, EngineBusy, DatabaseError):
        raise
    except Exception:
        logger.exception("the output of attempt %s cannot be judged", attempt.pk)
        message = "The validator's output could not be judged. The error was reported."
        return Judgement(broken(message), AttemptState.FAILED)
    is_cancelled = verdict.run_status == RunStatus.CANCELED
    return Judgement(verdict, AttemptState.CANCELED if is_cancelled else AttemptState.COMPLETED)


def _completed(step_run: StepRun, verdict: Verdict) -> Verdict:
    """Return the verdict of a validator with what its step adds (see verdict.complete)."""
    run = Run.objects.select_related("workflow", "submission").get(pk=step_run.run_id)
    loaded = assertion_rows(StepRun.objects.select_related("step")).get(pk=step_run.pk)
    submission = run.submission
    is_read = submission.size_bytes <= MAX_PAYLOAD_BYTES and uses_expressions(
        loaded.step, assertions_of(loaded)
    )
    body = content.read(submission, limit=MAX_PAYLOAD_BYTES) if is_read else b""
    earlier = StepRun.objects.filter(run=run, order__lt=step_run.order)
    try:
        return complete(
            verdict,
            loaded,
            run=run,
            document=Document(body, submission.filename, submission.mime_type),
            earlier={str(other.order): other.outputs for other in earlier},
        )
    except EngineError as error:
        return broken(str(error), findings=verdict.findings, artifacts=verdict.artifacts)


def _apply(
    attempt: Attempt,
    judgement: Judgement,
    *,
    actor: str,
    claimed: "QuerySet[CallbackReceipt] | None" = None,
    events: Sequence[RunEvent] = (),
    may_still_run: bool = False,
) -> ApplyResult:
    """Apply a judgement; what fits no column is applied as an error instead."""
    message = "The validator's output cannot be stored: a value does not fit."
    unfit = broken(message, ErrorCategory.RUNTIME_ERROR)
    for each in (judgement, Judgement(unfit, AttemptState.FAILED)):
        try:
            with transaction.atomic():
                _write(attempt, each, actor, claimed, events, may_still_run=may_still_run)
        except StateMoved:
            return ApplyResult.LATE
        except (DataError, IntegrityError):
            if each is not judgement:
                raise
            logger.exception("the output of attempt %s fits no column", attempt.pk)
        else:
            return ApplyResult.REJECTED if each.rejected else ApplyResult.APPLIED
    raise AssertionError("the second judgement is written or raises")


def _write(
    attempt: Attempt,
    judgement: Judgement,
    actor: str,
    claimed: "QuerySet[CallbackReceipt] | None",
    events: Sequence[RunEvent],
    *,
    may_still_run: bool,
) -> None:
    """End the attempt, its step and perhaps its run. Raises StateMoved."""
    step_run, verdict = attempt.step_run, judgement.verdict
    run = _lock_run(attempt)
    if run is None:
        raise StateMoved
    status = ReceiptStatus.REJECTED if judgement.rejected else ReceiptStatus.COMPLETED
    if claimed is not None and not claimed.update(
        status=status, error=verdict.error, claim_token=None
    ):
        raise StateMoved
    if not end_attempt(attempt, judgement.state, error=verdict.error, may_still_run=may_still_run):
        raise StateMoved
    last = not StepRun.objects.filter(run=run, order__gt=step_run.order).exists()
    held = Run.objects.filter(pk=run.pk, status=RunStatus.RUNNING)
    step_run.run = run
    ended = close_step(held, step_run, verdict, last=last, actor=actor, events=events)
    # The worker that launched the attempt may still hold the run; it then goes on by itself.
    is_free = run.lease_expires_at is None or run.lease_expires_at <= timezone.now()
    if is_free and not ended:
        queue.enqueue_run(run)


def _lock_run(attempt: Attempt) -> Run | None:
    """Lock the run; return None if it has ended."""
    run = Run.objects.select_for_update(no_key=True).get(pk=attempt.step_run.run_id)
    return run if run.status == RunStatus.RUNNING else None
