"""Usage: what the ledger says was used in a range of days, by month, workflow, validator and person."""

import csv
import datetime as dt
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import CharField, Count, F, QuerySet, Sum, Value
from django.db.models.functions import Coalesce, TruncMonth
from django.utils import timezone

from validibot.accounts.models import Organisation
from validibot.core.spreadsheets import safe_cell
from validibot.credits.models import EntryKind, LedgerEntry

# Rows of a group that are listed, the largest first.
MAX_ROWS = 200
_MONTH = TruncMonth("at", tzinfo=dt.UTC)
_PERSON = Coalesce("user__email", Value(""), output_field=CharField())
GROUPS: dict[str, Any] = {
    "month": _MONTH,
    "workflow": F("workflow"),
    "validator": F("validator"),
    "person": _PERSON,
}
_USAGE_COLUMNS = (*GROUPS, "steps", "credits")
_LEDGER_COLUMNS = ("at", "kind", "amount", "run", "step", "workflow", "validator", "person", "note")


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The steps that were paid for in one group, and their credits."""

    name: str
    steps: int
    credits: int


def entries_between(
    organisation: Organisation, after: dt.datetime | None, before: dt.datetime | None
) -> "QuerySet[LedgerEntry]":
    """Return the entries from `after` on and before `before`, newest first."""
    entries = LedgerEntry.objects.filter(organisation=organisation)
    if after:
        entries = entries.filter(at__gte=after)
    if before:
        entries = entries.filter(at__lt=before)
    return entries.order_by("-pk")


def usage_by(group: str, entries: "QuerySet[LedgerEntry]") -> list[UsageRow]:
    """Return the usage by one of `GROUPS`: months in order, others by their credits."""
    order = ["name"] if group == "month" else ["-credits", "name"]
    rows = _used(entries, name=GROUPS[group]).order_by(*order)
    return [UsageRow(_text(row["name"]), row["steps"], row["credits"]) for row in rows[:MAX_ROWS]]


def write_usage(entries: "QuerySet[LedgerEntry]") -> Iterator[bytes]:
    """Yield the usage by month, workflow, validator and person as CSV."""
    # The names of the groups are those of columns, too.
    groups = {f"by_{name}": expression for name, expression in GROUPS.items()}
    rows = _used(entries, **groups).order_by(*groups)
    yield _line(_USAGE_COLUMNS)
    for row in rows.iterator():
        yield _line([*(_text(row[name]) for name in groups), row["steps"], row["credits"]])


def write_ledger(entries: "QuerySet[LedgerEntry]") -> Iterator[bytes]:
    """Yield the entries as CSV in which no cell is a formula."""
    yield _line(_LEDGER_COLUMNS)
    for entry in entries.select_related("user").iterator():
        person = entry.user.email if entry.user else ""
        yield _line(
            [
                *(entry.at.isoformat(), entry.kind, entry.amount, entry.run or "", entry.step),
                *(entry.workflow, entry.validator, person, entry.note),
            ]
        )


EXPORTS = {"usage": write_usage, "ledger": write_ledger}


def day(moment: dt.date) -> dt.datetime:
    """Return the beginning of a day, in the current time zone."""
    return timezone.make_aware(dt.datetime.combine(moment, dt.time()))


def _used(entries: "QuerySet[LedgerEntry]", **groups: Any) -> "QuerySet[Any, Any]":
    used = entries.filter(kind=EntryKind.SETTLE).order_by()
    return used.values(**groups).annotate(steps=Count("pk"), credits=Sum("amount"))


def _text(value: Any) -> str:
    return f"{value:%Y-%m}" if isinstance(value, dt.datetime) else str(value)


def _line(cells: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([safe_cell(cell) for cell in cells])
    return text.getvalue().encode()
