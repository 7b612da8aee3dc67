"""Write, export and purge tracking events."""

import csv
import datetime as dt
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from validibot.core.spreadsheets import safe_cell
from validibot.tracking.models import EventName, TrackingEvent

# As a statement of its own, or as a part of one that inserts something else.
INSERT = """
INSERT INTO tracking_trackingevent (at, name, actor_id, organisation_id, extra)
VALUES (%s, %s, %s, %s, %s::jsonb)
"""
BATCH = 1000
MAX_TEXT = 100
_COLUMNS = ("id", "at", "name", "actor", "organisation", "extra")


def track(
    name: EventName,
    *,
    actor: int | None = None,
    organisation: int | None = None,
    **extra: str | int | bool,
) -> None:
    """Write an event; call it in the transaction of what it tells.

    `actor` and `organisation` are ids. `extra` is for kinds and numbers ("source", "steps"), never for
    names, addresses or content; a text is cut to MAX_TEXT characters.
    """
    with connection.cursor() as cursor:
        cursor.execute(INSERT, values_of(name, actor=actor, organisation=organisation, **extra))


def values_of(
    name: EventName,
    *,
    actor: int | None = None,
    organisation: int | None = None,
    **extra: str | int | bool,
) -> list[Any]:
    """Return the parameters of `INSERT`; see `track`."""
    facts = {key: each[:MAX_TEXT] if isinstance(each, str) else each for key, each in extra.items()}
    return [timezone.now(), name.value, actor, organisation, json.dumps(facts)]


def select_events(
    *, name: str = "", after: dt.datetime | None = None, before: dt.datetime | None = None
) -> "QuerySet[TrackingEvent]":
    """Return the events, oldest first: of one name, from `after` on, before `before`."""
    events = TrackingEvent.objects.order_by("pk")
    if name:
        events = events.filter(name=name)
    if after:
        events = events.filter(at__gte=after)
    if before:
        events = events.filter(at__lt=before)
    return events


def write_csv(events: "QuerySet[TrackingEvent]") -> Iterator[bytes]:
    """Yield the events as CSV in which no cell is a formula."""
    yield _line(_COLUMNS)
    for event in _all(events):
        row = _as_dict(event) | {"extra": json.dumps(event.extra, ensure_ascii=False)}
        yield _line(["" if row[name] is None else safe_cell(str(row[name])) for name in _COLUMNS])


def write_jsonl(events: "QuerySet[TrackingEvent]") -> Iterator[bytes]:
    """Yield the events as JSON Lines."""
    for event in _all(events):
        yield json.dumps(_as_dict(event), ensure_ascii=False).encode() + b"\n"


FORMATS: dict[str, Callable[["QuerySet[TrackingEvent]"], Iterator[bytes]]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
}


def purge_events(before: dt.datetime) -> int:
    """Delete a batch of events from before a moment; return how many."""
    old = TrackingEvent.objects.filter(at__lt=before).order_by("at").values("pk")[:BATCH]
    return TrackingEvent.objects.filter(pk__in=old).delete()[0]


def _all(events: "QuerySet[TrackingEvent]") -> Iterator[TrackingEvent]:
    """Yield the events in batches, each by a query of its own."""
    batch = list(events[:BATCH])
    while batch:
        yield from batch
        batch = list(events.filter(pk__gt=batch[-1].pk)[:BATCH])


def _as_dict(event: TrackingEvent) -> dict[str, Any]:
    return {
        "id": event.pk,
        "at": event.at.isoformat(),
        "name": event.name,
        "actor": event.actor_id,
        "organisation": event.organisation_id,
        "extra": event.extra,
    }


def _line(cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
