"""The end of runs, step runs and attempts: everything that ends one goes through this module.

Every change is a conditional update from an allowed state (`validibot.runs.states`) in one
transaction, so of two that try to end the same thing one succeeds; the other finds `StateMoved` or
False and writes nothing. The end of a run ends in the same transaction whatever of it is not ended:

- a step that was started becomes CANCELED with a cancelled run and FAILED otherwise, later steps
  become SKIPPED;
- an attempt ends as its run does. If its execution may live it is marked by `cancel_requested_at`.
  A task cancels the execution at once, and if that is lost the sweep does it again until the
  provider says that the execution has ended.

Reserved credits are settled, and a run that waits for this one is started, in the same transaction. The
next queue entry, the notices, the webhooks and the cancellation are enqueued after the commit.
"""

import datetime as dt
from collections.abc import Sequence
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from validibot.runs import notices, queue
from validibot.runs.charging import settle_credits
from validibot.runs.concurrency import start_held
from validibot.runs.events import record
from validibot.runs.evidence import record_evidence
from validibot.runs.models import Artifact, Attempt, Finding, Run, RunEvent, StepRun
from validibot.runs.notices import EVENT_OF_RESULT
from validibot.runs.rules import as_rows
from validibot.runs.states import (
    ACTIVE_ATTEMPT,
    ATTEMPT,
    RUN,
    STEP,
    AttemptState,
    ErrorCategory,
    RunStatus,
    StepStatus,
    public_result,
    sources,
)
from validibot.runs.verdict import Verdict, storable_json
from validibot.workflows.models import FIRST_STEP, OnFailure

_FINDING_COLUMNS = [
    "order",
    "severity",
    "code",
    "message",
    "path",
    "line",
    "column",
    "assertion_id",
]
_COPY_FINDINGS = """
COPY runs_finding
    (run_id, step_run_id, "order", severity, code, message, path, line, "column", assertion_id)
FROM STDIN
"""
_ATTEMPT_OF_RUN = {
    RunStatus.CANCELED: AttemptState.CANCELED,
    RunStatus.TIMED_OUT: AttemptState.TIMED_OUT,
}


class StateMoved(Exception):
    """The run, step or attempt is not where the caller left it: it has ended or was taken over."""


def cancel_run(run_id: UUID, *, actor: str) -> bool:
    """Cancel a run that has not ended; return whether it was cancelled now.

    A worker or a validator that goes on with it finds the run ended when it wants to write.
    """
    return end_run(Run.objects.filter(pk=run_id), run_id, RunStatus.CANCELED, actor=actor)


def end_run(
    held: "QuerySet[Run]",
    run_id: UUID,
    status: RunStatus,
    *,
    actor: str,
    category: ErrorCategory = ErrorCategory.NONE,
    error: str = "",
) -> bool:
    """End a run between its steps; return whether it was ended now.

    `held` selects rows that the caller may touch, the run's among them as long as it may be ended.
    """
    now = timezone.now()
    with transaction.atomic():
        if not _update_run(held.filter(pk=run_id), status, category, error, now=now):
            return False
        _end_open_steps(run_id, status, error, now=now)
        _end_attempts(run_id, status, error)
        record(run_id, _end_event(status, category, error, actor))
        record_evidence(run_id)
        run = Run.objects.get(pk=run_id)
        _free(run)
        notices.tell(run)
    return True


def close_step(
    held: "QuerySet[Run]",
    step_run: StepRun,
    verdict: Verdict,
    *,
    last: bool,
    actor: str,
    events: Sequence[RunEvent] = (),
) -> bool:
    """Apply a verdict to a step, and to its run if that ends; return whether it has ended.

    `events` are written before those of the end. Raises StateMoved, without having written
    anything, if `held` selects no row or the step has ended.
    """
    now = timezone.now()
    run = step_run.run
    ended_as, category = _end_of_run(step_run, verdict, last=last)
    with transaction.atomic():
        if ended_as is None:
            # From here the sweep counts how long the run waits for a worker.
            is_held = held.update(enqueued_at=now, checked_at=None)
            run.enqueued_at = now
        else:
            is_held = _update_run(held, ended_as, category, verdict.error, now=now)
        if not is_held:
            raise StateMoved
        _update_step(step_run, verdict, now=now)
        _write_rows(step_run, verdict)
        written = [*events, _step_event(step_run, verdict, actor)]
        if ended_as:
            written.append(_end_event(ended_as, category, verdict.error, actor))
        record(run.pk, *written)
        if ended_as:
            if not last:
                _end_open_steps(run.pk, ended_as, verdict.error, now=now)
            if not step_run.step.validator.in_process:  # the steps before it have ended theirs
                _end_attempts(run.pk, ended_as, verdict.error)
            run.status, run.error_category, run.ended_at = ended_as, category, now
            record_evidence(run)
            _free(run)
            notices.tell(run)
    return ended_as is not None


def _free(run: Run) -> None:
    """Start the run that waits for the place of one that has ended, and settle its credits."""
    if run.may_be_waited_for:
        start_held(run.organisation_id)
    settle_credits(run)


def _end_of_run(
    step_run: StepRun, verdict: Verdict, *, last: bool
) -> tuple[RunStatus | None, ErrorCategory]:
    """Return how a verdict ends its run, if it does, and why the run failed.

    A step that continues on failure lets the run go on although the data is bad; the run then fails
    at its last step.
    """
    is_bad_data = verdict.category == ErrorCategory.VALIDATION_FAILED
    if not last:
        goes_on = is_bad_data and step_run.step.on_failure == OnFailure.CONTINUE
        return (None if goes_on else verdict.run_status), verdict.category
    if verdict.run_status is None and _has_failed_step(step_run):
        return RunStatus.FAILED, ErrorCategory.VALIDATION_FAILED
    return verdict.run_status or RunStatus.SUCCEEDED, verdict.category


def _has_failed_step(step_run: StepRun) -> bool:
    """Return whether a step before this one found errors and let the run go on."""
    # The first step, which is the only one of most runs, costs no query.
    is_first = step_run.order == FIRST_STEP
    return not is_first and step_run.run.steps.filter(status=StepStatus.FAILED).exists()


def end_attempt(
    attempt: Attempt, state: AttemptState, *, error: str = "", may_still_run: bool = False
) -> bool:
    """End an attempt, if the table allows it from where the row is by now; return whether it did.

    `may_still_run`: its execution, if there is one, has to be cancelled.
    """
    now = timezone.now()
    values = {"error": error} if error else {}
    marks = {"cancel_requested_at": now} if may_still_run else {}
    open_attempt = Attempt.objects.filter(pk=attempt.pk, state__in=sources(ATTEMPT, state))
    if not open_attempt.update(state=state, ended_at=now, **values, **marks):
        return False
    attempt.state = state
    if may_still_run:
        queue.enqueue_cancel(attempt.pk)
    return True


def _update_run(
    held: "QuerySet[Run]",
    status: RunStatus,
    category: ErrorCategory,
    error: str,
    *,
    now: dt.datetime,
) -> int:
    return held.filter(status__in=sources(RUN, status)).update(
        status=status,
        error_category=category,
        error=error,
        ended_at=now,
        lease_token=None,
        lease_expires_at=None,
    )


def _end_open_steps(run_id: UUID, status: RunStatus, error: str, *, now: dt.datetime) -> None:
    cancelled = status == RunStatus.CANCELED
    started_as = StepStatus.CANCELED if cancelled else StepStatus.FAILED
    for step_status, step_error in ((started_as, error), (StepStatus.SKIPPED, "")):
        open_steps = StepRun.objects.filter(run_id=run_id, status__in=sources(STEP, step_status))
        open_steps.update(status=step_status, error=step_error, ended_at=now)


def _end_attempts(run_id: UUID, status: RunStatus, error: str) -> None:
    target = _ATTEMPT_OF_RUN.get(status, AttemptState.FAILED)
    open_attempts = Attempt.objects.filter(step_run__run_id=run_id, state__in=ACTIVE_ATTEMPT)
    for attempt in open_attempts.select_for_update(of=("self",), no_key=True):
        is_launched = attempt.state != AttemptState.PENDING
        state = target if attempt.state in sources(ATTEMPT, target) else AttemptState.FAILED
        end_attempt(attempt, state, error=error, may_still_run=is_launched)


def _update_step(step_run: StepRun, verdict: Verdict, *, now: dt.datetime) -> None:
    open_step = StepRun.objects.filter(pk=step_run.pk, status__in=sources(STEP, verdict.status))
    outputs = storable_json(dict(verdict.outputs))
    for order, finding in enumerate(verdict.findings, start=1):
        finding.order = order
    if not open_step.update(
        status=verdict.status,
        error=verdict.error,
        outputs=outputs,
        rules=as_rows(verdict.findings),
        ended_at=now,
    ):
        raise StateMoved
    step_run.status, step_run.outputs = verdict.status, outputs


def _write_rows(step_run: StepRun, verdict: Verdict) -> None:
    for artifact in verdict.artifacts:
        artifact.run_id, artifact.step_run_id = step_run.run_id, step_run.pk
    if verdict.findings:
        _copy_findings(step_run, verdict.findings)
    if verdict.artifacts:
        Artifact.objects.bulk_create(verdict.artifacts)


def _copy_findings(step_run: StepRun, findings: Sequence[Finding]) -> None:
    """Write findings, which stay without keys here: COPY takes a third of the time of INSERT."""
    with (
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(_COPY_FINDINGS) as rows,
    ):
        for each in findings:
            rows.write_row(
                (
                    step_run.run_id,
                    step_run.pk,
                    *(getattr(each, name) for name in _FINDING_COLUMNS),
                )
            )


def _step_event(step_run: StepRun, verdict: Verdict, actor: str) -> RunEvent:
    return RunEvent(
        step_run=step_run,
        kind=f"step_{verdict.status.lower()}",
        actor=actor,
        message=verdict.error,
        data={"findings": len(verdict.findings)},
    )


def _end_event(status: RunStatus, category: ErrorCategory, error: str, actor: str) -> RunEvent:
    kind = EVENT_OF_RESULT[public_result(status, category)]
    return RunEvent(kind=kind, actor=actor, message=error)
