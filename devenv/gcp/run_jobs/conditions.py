"""Conditions of jobs, executions and tasks, and the words in which Cloud Run states them."""

from devenv.gcp.messages import moment, set_moment
from devenv.gcp.run_jobs.messages import (
    Condition,
    ExecutionReason,
    Pb,
    Severity,
)

COMPLETED = "Completed"
STARTED = "Started"

WAITING_TO_COMPLETE = "Waiting for execution to complete."
WAITING_TO_START = "Waiting for execution to start."
PROVISIONED = "Provisioned imported containers."
RETRY = "System will retry after 30:00 from lastTransitionTime for polling interval"
CANCELLING = "Cancelling execution."
CANCELLED = "Cancelled by user."


def find(record: Pb, kind: str) -> Pb | None:
    """Return the condition `kind` of a record, or None."""
    return next((each for each in record.conditions if each.type_ == kind), None)


def put(
    record: Pb,
    kind: str,
    state: int,
    message: str,
    *,
    now: float,
    reason: int | None = None,
) -> None:
    """Set the condition `kind`; its transition time moves only when its state does.

    `reason` is an ExecutionReason or a CommonReason.
    """
    condition = find(record, kind)
    if condition is None:
        condition = record.conditions.add(type_=kind)
    changed = condition.state != state
    since = now if changed else moment(condition.last_transition_time)
    severity = Severity.INFO if kind == "Retry" else Severity.SEVERITY_UNSPECIFIED
    condition.CopyFrom(Condition(type_=kind, state=state, message=message, severity=severity))
    set_moment(condition.last_transition_time, since)
    if isinstance(reason, ExecutionReason):
        condition.execution_reason = reason
    elif reason is not None:
        condition.reason = reason


def go_duration(seconds: float) -> str:
    """Format seconds as Go does, to the hundredth: `38.22s`, `1m3.6s`, `1h0m2s`, `220ms`."""
    hundredths = max(0, round(seconds * 100))
    if 0 < hundredths < 100:
        return f"{hundredths * 10}ms"
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 100:.2f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
