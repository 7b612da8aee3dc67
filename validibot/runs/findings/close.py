"""Write what a step came to, and end the run where it ends."""

import datetime as dt
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from validibot.runs.events import record
from validibot.runs.evidence import record_evidence
from validibot.runs.findings.verdict import Verdict, storable_json
from validibot.runs.models import Artifact, Finding, Run, RunEvent, StepRun
from validibot.runs.states import (
    RUN,
    STEP,
    ErrorCategory,
    RunStatus,
    StepStatus,
    public_result,
    sources,
)

_EVENTS = {
    "PASS": "passed",
    "FAIL": "failed",
    "ERROR": "error",
    "CANCELED": "canceled",
    "TIMED_OUT": "timed_out",
}


class Moved(Exception):
    """The run or the step is not where it was: somebody else has ended it or taken it over."""


def close_step(
    held: "QuerySet[Run]", step_run: StepRun, verdict: Verdict, *, last: bool, actor: str
) -> bool:
    """Apply a verdict in one transaction; return whether the run has ended.

    `held` selects the run's row only while the caller may still touch it; when it selects nothing
    the caller has lost against a cancellation or another worker, and nothing is written.
    """
    now = timezone.now()
    ended_as = verdict.run_status or (RunStatus.SUCCEEDED if last else None)
    with transaction.atomic():
        if not _update_run(held, verdict, ended_as, now=now):
            raise Moved
        _update_step(step_run, verdict, now=now)
        _write_rows(step_run, verdict)
        events = [_step_event(step_run, verdict, actor)]
        if ended_as and not last:
            skip_steps(step_run.run_id, now=now)
        if ended_as:
            events.append(ending(ended_as, verdict.category, actor=actor, message=verdict.error))
        record(step_run.run_id, *events)
        if ended_as:
            record_evidence(step_run.run_id)
    return ended_as is not None


def ending(
    status: RunStatus, category: ErrorCategory, *, actor: str, message: str = ""
) -> RunEvent:
    """Return the event of a run's end."""
    return RunEvent(kind=_EVENTS[public_result(status, category)], actor=actor, message=message)


def skip_steps(run_id: UUID, *, now: dt.datetime) -> None:
    """End the steps of a run that has ended: what was started is cancelled, the rest skipped."""
    for status in (StepStatus.CANCELED, StepStatus.SKIPPED):
        open_steps = StepRun.objects.filter(run_id=run_id, status__in=sources(STEP, status))
        open_steps.update(status=status, ended_at=now)


def _update_run(
    held: "QuerySet[Run]", verdict: Verdict, ended_as: RunStatus | None, *, now: dt.datetime
) -> int:
    if ended_as is None:
        # From here the sweep counts how long nobody has gone on with it.
        return held.update(enqueued_at=now)
    return held.filter(status__in=sources(RUN, ended_as)).update(
        status=ended_as,
        error_category=verdict.category,
        error=verdict.error,
        ended_at=now,
        lease_token=None,
        lease_expires_at=None,
    )


def _update_step(step_run: StepRun, verdict: Verdict, *, now: dt.datetime) -> None:
    open_step = StepRun.objects.filter(pk=step_run.pk, status__in=sources(STEP, verdict.status))
    outputs = storable_json(dict(verdict.outputs))
    if not open_step.update(
        status=verdict.status, error=verdict.error, outputs=outputs, ended_at=now
    ):
        raise Moved
    step_run.status, step_run.outputs = verdict.status, outputs


def _write_rows(step_run: StepRun, verdict: Verdict) -> None:
    for order, finding in enumerate(verdict.findings, start=1):
        finding.order = order
        finding.run_id, finding.step_run_id = step_run.run_id, step_run.pk
    for artifact in verdict.artifacts:
        artifact.run_id, artifact.step_run_id = step_run.run_id, step_run.pk
    if verdict.findings:
        Finding.objects.bulk_create(verdict.findings)
    if verdict.artifacts:
        Artifact.objects.bulk_create(verdict.artifacts)


def _step_event(step_run: StepRun, verdict: Verdict, actor: str) -> RunEvent:
    return RunEvent(
        step_run=step_run,
        kind=f"step_{verdict.status.lower()}",
        actor=actor,
        message=verdict.error,
        data={"findings": len(verdict.findings)},
    )
