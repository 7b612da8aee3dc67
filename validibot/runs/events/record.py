"""Write events where they become true, and tell every process."""

from uuid import UUID

from django.db import connection

from validibot.runs.models import RunEvent

CHANNEL = "run_events"


def record(run_id: UUID, *events: RunEvent) -> None:
    """Save `events` of a run and notify whoever watches it.

    Called inside the transaction that makes them true: PostgreSQL delivers the notification when,
    and only if, that transaction commits.
    """
    for event in events:
        event.run_id = run_id
    RunEvent.objects.bulk_create(events)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(run_id)])
