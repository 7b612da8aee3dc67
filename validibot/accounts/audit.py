"""The audit log of an organisation, of an account and of the site: who changed what, from where.

An entry is written in the transaction of its change, so neither is there without the other. The
database refuses to change an entry (migration 0008); only retention and the deletion of the
organisation remove it.
"""

import csv
import datetime as dt
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import QuerySet

from validibot.accounts.audit_texts import ACTIONS
from validibot.accounts.models import AuditEntry, Organisation, User
from validibot.core.origin import current_origin
from validibot.core.spreadsheets import safe_cell

# Entries that one batch of a purge deletes.
BATCH = 1000
_COLUMNS = ("at", "actor", "action", "target", "changes", "address", "via", "request_id")


def record(
    organisation: Organisation | int | None,
    action: str,
    target: object,
    changes: Mapping[str, tuple[Any, Any]] | None = None,
    *,
    account: User | None = None,
) -> None:
    """Write an entry; call it in the transaction of the change.

    `changes` are the values before and after by field; those that are the same are left out. `account`
    is the person whose sign-in or key it is; without an organisation either it is about the site.
    """
    assert action in ACTIONS, f"ACTIONS has no text for {action}"
    origin = current_origin()
    differ = {name: list(pair) for name, pair in (changes or {}).items() if pair[0] != pair[1]}
    AuditEntry.objects.create(
        organisation_id=organisation.pk if isinstance(organisation, Organisation) else organisation,
        account=account,
        action=action,
        target=str(target)[:200],
        changes=differ,
        actor=origin.actor,
        address=origin.address or None,
        request_id=origin.request_id,
        via=origin.via,
    )


def filter_entries(
    organisation: Organisation,
    *,
    actor: str = "",
    action: str = "",
    after: dt.datetime | None = None,
    before: dt.datetime | None = None,
) -> QuerySet[AuditEntry]:
    """Return the entries, newest first; `action` is a kind (`member`) or a whole action."""
    entries = organisation.audit_entries.all()
    if actor:
        entries = entries.filter(actor__icontains=actor)
    if action:
        entries = entries.filter(action__startswith=action)
    if after:
        entries = entries.filter(at__gte=after)
    if before:
        entries = entries.filter(at__lt=before)
    return entries.order_by("-pk")


def write_csv(entries: QuerySet[AuditEntry]) -> Iterator[bytes]:
    """Yield the entries as CSV in which no cell is a formula."""
    yield _line(_COLUMNS)
    for entry in _all(entries):
        row = as_dict(entry) | {"changes": json.dumps(entry.changes, ensure_ascii=False)}
        yield _line(safe_cell(row[name] or "") for name in _COLUMNS)


def write_jsonl(entries: QuerySet[AuditEntry]) -> Iterator[bytes]:
    """Yield the entries as JSON Lines."""
    for entry in _all(entries):
        yield json.dumps(as_dict(entry), ensure_ascii=False).encode() + b"\n"


FORMATS = {"csv": write_csv, "jsonl": write_jsonl}


def as_dict(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as JSON values, by column."""
    return {name: getattr(entry, name) for name in _COLUMNS} | {"at": entry.at.isoformat()}


def purge_entries(before: dt.datetime) -> int:
    """Delete a batch of entries from before a moment; return how many."""
    old = AuditEntry.objects.filter(at__lt=before).values("pk")[:BATCH]
    return AuditEntry.objects.filter(pk__in=old).delete()[0]


def _all(entries: QuerySet[AuditEntry]) -> Iterator[AuditEntry]:
    """Yield the entries in batches, each by a query of its own: a download may change its thread."""
    batch = list(entries[:BATCH])
    while batch:
        yield from batch
        batch = list(entries.filter(pk__lt=batch[-1].pk)[:BATCH])


def _line(cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
