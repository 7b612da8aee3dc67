"""Progress of a run: what it waits for, since when, and what happens next.

It is read from the same rows and events as the sweep reads.
"""

import datetime as dt
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from validibot.runs.concurrency import places_before
from validibot.runs.models import Attempt, Run, RunEvent, StepRun
from validibot.runs.states import ACTIVE_ATTEMPT, AttemptState, RunStatus, StepStatus

# Interval of the sweep in `config/schedules.toml`.
_SWEEP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Reason why a run has not ended. `step` is the order of its current step, if it has one."""

    reason: str
    since: dt.datetime
    step: int | None = None


def progress_of(run: Run) -> RunProgress | None:
    """Return why a run has not ended, in at most three queries; None if it has."""
    if run.status not in (RunStatus.PENDING, RunStatus.RUNNING):
        return None
    active = Attempt.objects.filter(step_run__run=run, state__in=ACTIVE_ATTEMPT)
    if attempt := active.select_related("step_run").first():
        return _at_validator(attempt)
    now = timezone.now()
    step = run.steps.filter(status=StepStatus.RUNNING).first()
    if run.lease_expires_at and run.lease_expires_at > now:
        return _at_worker(run, step)
    if run.lease_expires_at:
        reason = _(
            "The worker that had the run has not answered since then. Another one takes the run when the"
            " queue delivers it again, or at the next sweep, which comes every %(seconds)s seconds."
        )
        order = step.order if step else None
        return RunProgress(reason % {"seconds": _SWEEP_SECONDS}, run.lease_expires_at, order)
    return _in_queue(run, now)


def _at_validator(attempt: Attempt) -> RunProgress:
    order = attempt.step_run.order
    names = {
        "order": order,
        "number": attempt.number,
        "deadline": f"{attempt.timeout_at:%H:%M} UTC",
    }
    if attempt.state == AttemptState.PENDING:
        reason = _("Step %(order)s is being prepared for its validator (attempt %(number)s).")
        return RunProgress(_with_failures(attempt, reason % names), attempt.created_at, order)
    if attempt.state == AttemptState.UNKNOWN:
        reason = _(
            "The provider did not answer the launch of step %(order)s. It may have started: its execution"
            " is looked for, and the step is not started twice. Its time ends at %(deadline)s."
        )
    elif attempt.state == AttemptState.DISPATCHING:
        reason = _("The provider was asked to start the validator of step %(order)s.")
    elif attempt.called_back_at:
        reason = _("The validator of step %(order)s has answered; its output is being read.")
        return RunProgress(reason % names, attempt.called_back_at, order)
    else:
        reason = _(
            "The validator of step %(order)s is at work (attempt %(number)s). Its time ends at %(deadline)s."
        )
    return RunProgress(reason % names, attempt.launched_at or attempt.created_at, order)


def _with_failures(attempt: Attempt, reason: str) -> str:
    """Add the error of the last launch that failed, if one has."""
    failed = RunEvent.objects.filter(
        run=attempt.step_run.run_id, step_run=attempt.step_run, kind="launch_failed"
    )
    last = failed.order_by("-id").first()
    if last is None:
        return reason
    failure = _("The last launch failed: %(error)s") % {"error": last.message}
    return f"{reason} {failure}"


def _at_worker(run: Run, step: StepRun | None) -> RunProgress:
    if step is None:
        return RunProgress(_("A worker has the run."), run.started_at or run.created_at)
    reason = _("A worker is at step %(order)s.") % {"order": step.order}
    if step.starts > 1:
        reason += " " + _(
            "It is start number %(starts)s of the step: the workers before were interrupted."
        ) % {"starts": step.starts}
    return RunProgress(reason, step.started_at or run.created_at, step.order)


def _in_queue(run: Run, now: dt.datetime) -> RunProgress:
    if run.held_at:
        reason = _(
            "The run waits for a place: your organisation has as many runs under way as it may have at"
            " once (%(under_way)s). Runs that wait before this one: %(ahead)s. It starts when its turn has"
            " come."
        )
        return RunProgress(reason % places_before(run), run.held_at)
    since = run.enqueued_at or run.created_at
    reason = _("The run waits in the queue for a worker.")
    if now - since > dt.timedelta(seconds=settings.RUN_PENDING_SECONDS):
        reason += " " + _(
            "It has waited for long: all workers are busy, none is running, or its queue entry was lost."
            " The sweep makes a new entry."
        )
    return RunProgress(reason, since)
