"""Write events where they become true, and tell every process."""

from uuid import UUID

from validibot.runs.models import RunEvent

CHANNEL = "run_events"
# The kinds with which a run is over; migration 0004 has the same list.
ENDINGS = frozenset({"passed", "failed", "error", "canceled", "timed_out"})
# What follows the run's id in a notification of its end.
END = " end"


def record(run_id: UUID, *events: RunEvent) -> None:
    """Save `events` of a run, inside the transaction that makes them true.

    A trigger notifies whoever watches the run when, and only if, that transaction commits.
    """
    for event in events:
        event.run_id = run_id
    RunEvent.objects.bulk_create(events)
