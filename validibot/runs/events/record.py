"""Write events where they become true, and tell every process."""

from uuid import UUID

from django.db import connection

from validibot.runs.models import RunEvent

CHANNEL = "run_events"
# The kinds with which a run is over.
ENDINGS = frozenset({"passed", "failed", "error", "canceled", "timed_out"})
# What follows the run's id in a notification of its end.
END = " end"


def record(run_id: UUID, *events: RunEvent) -> None:
    """Save `events` of a run and notify whoever watches it.

    Called inside the transaction that makes them true: PostgreSQL delivers the notification when,
    and only if, that transaction commits.
    """
    for event in events:
        event.run_id = run_id
    RunEvent.objects.bulk_create(events)
    ended = any(event.kind in ENDINGS for event in events)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, f"{run_id}{END if ended else ''}"])
