"""Usage: what the ledger says was used in a range of days, by month, workflow, validator and person."""

import csv
import datetime as dt
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import CharField, Count, F, QuerySet, Sum, Value
from django.db.models.functions import Coalesce, TruncMonth
from django.utils import timezone

from validibot.accounts.models import Organisation, User
from validibot.accounts.scope import Scope
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
_LEDGER_COLUMNS = ("at", "kind", "amount", "run", "step", "workflow", "validator", "person", "note")

_ALL_GROUPS = """
SELECT CASE 0
        WHEN grouping(month) THEN 'month' WHEN grouping(workflow) THEN 'workflow'
        WHEN grouping(validator) THEN 'validator' ELSE 'person' END,
    month, workflow, validator, user_id, count(*), sum(amount)::bigint
FROM (
    SELECT date_trunc('month', at AT TIME ZONE 'UTC') AS month, workflow, validator, user_id, amount
    FROM credits_ledgerentry
    WHERE organisation_id = %s AND kind = %s AND at >= %s AND at < %s
) AS used
GROUP BY GROUPING SETS (month, workflow, validator, user_id)
"""


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


def groups_for(scope: Scope) -> list[str]:
    """Return the groups that a user may see: people only with the runs of all."""
    return [name for name in GROUPS if name != "person" or shows_people(scope)]


def shows_people(scope: Scope) -> bool:
    """Return whether a user may see who started which run."""
    return scope.can("run.view_all")


def usage_by_all(
    organisation: Organisation, after: dt.datetime, before: dt.datetime
) -> dict[str, list[UsageRow]]:
    """Return the usage of a range by each of `GROUPS`, as `usage_by`, in one pass over the ledger."""
    with connection.cursor() as cursor:
        cursor.execute(_ALL_GROUPS, [organisation.pk, EntryKind.SETTLE, after, before])
        rows = cursor.fetchall()
    emails = dict(User.objects.filter(pk__in={row[4] for row in rows}).values_list("pk", "email"))
    found: dict[str, list[UsageRow]] = {name: [] for name in GROUPS}
    for group, month, workflow, validator, user, steps, credit in rows:
        name = {"month": month, "workflow": workflow, "validator": validator}.get(
            group, emails.get(user, "")
        )
        found[group].append(UsageRow(_text(name), steps, credit))
    for group, listed in found.items():
        listed.sort(key=lambda row: row.name if group == "month" else (-row.credits, row.name))
    return {group: listed[:MAX_ROWS] for group, listed in found.items()}


def write_usage(entries: "QuerySet[LedgerEntry]", scope: Scope) -> Iterator[bytes]:
    """Yield the usage by all groups that the user may see as CSV."""
    names = groups_for(scope)
    # The names of the groups are those of columns, too.
    groups = {f"by_{name}": GROUPS[name] for name in names}
    rows = _used(entries, **groups).order_by(*groups)
    yield _line([*names, "steps", "credits"])
    for row in rows.iterator():
        yield _line([*(_text(row[name]) for name in groups), row["steps"], row["credits"]])


def write_ledger(entries: "QuerySet[LedgerEntry]", scope: Scope) -> Iterator[bytes]:
    """Yield the entries as CSV in which no cell is a formula; people only where the user may see them."""
    yield _line(_LEDGER_COLUMNS)
    has_people = shows_people(scope)
    for entry in entries.select_related("user").iterator():
        person = entry.user.email if has_people and entry.user else ""
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
