"""Purge: rows and files that are not needed any more, removed after a time for each kind.

`settings.RETENTION_DAYS` holds the days of each kind; None keeps the kind for ever. Results and
evidence are kept unless their days are set. A pass works in bounded batches, each in a transaction
of its own, and may be interrupted and repeated at any time.

Orphaned files are those without a row, so those of another database look like orphans. The object
`database-id` below DATA_ROOT names the database that the files belong to; the first purge writes it.
"""

import datetime as dt
import json
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import batched
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, models
from django.db.models import Exists, ExpressionWrapper, F, OuterRef
from django.utils import timezone

from validibot.accounts import waitlist
from validibot.accounts.audit import purge_entries
from validibot.core.models import CacheEntry, Deployment, FailureCount, PendingMail, RequestCount
from validibot.core.storage import (
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    StorageError,
    get_storage,
)
from validibot.dispatch import TryLater
from validibot.dispatch.files import delete_files
from validibot.notifications.sending import purge_notifications
from validibot.runs.backends.base import StateUnavailable
from validibot.runs.deletion import delete_runs
from validibot.runs.export_files import remove_exports, stale_exports
from validibot.runs.models import (
    Artifact,
    Attempt,
    CallbackReceipt,
    ExportFile,
    IdempotencyKey,
    Run,
    RunEvent,
)
from validibot.runs.registration import remove_lost_jobs
from validibot.runs.states import RUN, terminal
from validibot.submissions import content
from validibot.submissions.models import Submission
from validibot.support.requests import purge_requests
from validibot.tracking.events import purge_events
from validibot.webhooks.delivery import purge_deliveries
from validibot.workflows.trials import purge_trials

BATCH = 1000
# A pass ends after so many batches of one kind; the next pass goes on.
MAX_BATCHES = 100
# The object below DATA_ROOT that names the database its files belong to.
MARKER = "database-id"
_ENDED = sorted(terminal(RUN))
_UUID_TEXT = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FOLDER = re.compile(
    rf".*?/(?:runs/\d+/(?P<run>{_UUID_TEXT})/attempts/(?P<attempt>{_UUID_TEXT})"
    rf"|submissions/\d+/(?P<submission>{_UUID_TEXT})"
    rf"|(?:runs/\d+/{_UUID_TEXT}/exports|accounts/\d+)/(?P<export>{_UUID_TEXT}))/"
)
# Tables of apps that not every process has installed.
_SESSION_LIST = "DELETE FROM usersessions_usersession WHERE id IN (SELECT id FROM usersessions_usersession WHERE last_seen_at < %s AND session_key NOT IN (SELECT session_key FROM django_session) LIMIT %s)"
_SESSIONS = "DELETE FROM django_session WHERE session_key IN (SELECT session_key FROM django_session WHERE expire_date < %s LIMIT %s)"
_DEAD_JOBS = "DELETE FROM procrastinate_jobs WHERE id IN (SELECT id FROM procrastinate_jobs WHERE status IN ('failed', 'aborted', 'cancelled') AND scheduled_at < %s LIMIT %s)"

logger = logging.getLogger(__name__)


class DataRootShared(Exception):
    """The files below DATA_ROOT belong to another database; the message says what to do."""


def purge() -> dict[str, int]:
    """Remove what is older than its retention; return how many of each kind were removed.

    Raises DataRootShared, after everything else, instead of removing files of another database.
    """
    now = timezone.now()
    removed: dict[str, int] = {}
    for kind, remove in _OF_WORKFLOWS.items():
        removed[kind] = _in_batches(kind, remove, now)
    for kind, remove in _KINDS.items():
        days: float | None = settings.RETENTION_DAYS[kind]
        if days is not None:
            removed[kind] = _in_batches(kind, remove, now - dt.timedelta(days=days))
    return removed


def _lost_jobs(before: dt.datetime) -> int:
    """Remove jobs at the provider whose custom validators are gone."""
    return remove_lost_jobs()


def _in_batches(kind: str, remove: Callable[[dt.datetime], int], before: dt.datetime) -> int:
    """Remove one kind in at most `MAX_BATCHES`; return the number. An outage ends it early."""
    total = 0
    try:
        for _ in range(MAX_BATCHES):
            count = remove(before)
            total += count
            if count < BATCH:
                break
    except (TryLater, StorageError, StateUnavailable) as error:
        logger.warning("%s are purged later: %s", kind, error)
    return total


def _rows(queryset: "models.QuerySet[Any]") -> int:
    keys = list(queryset.order_by().values_list("pk", flat=True)[:BATCH])
    queryset.model.objects.filter(pk__in=keys).delete()
    return len(keys)


def _pending_mails(before: dt.datetime) -> int:
    return _rows(PendingMail.objects.filter(created_at__lt=before))


def _limits(before: dt.datetime) -> int:
    counts = sum(
        _rows(model.objects.filter(expires_at__lt=before)) for model in (FailureCount, RequestCount)
    )
    return counts + _rows(CacheEntry.objects.filter(expires__lt=before))


def _idempotency_keys(before: dt.datetime) -> int:
    return _rows(IdempotencyKey.objects.filter(created_at__lt=before))


def _events(before: dt.datetime) -> int:
    return _rows(RunEvent.objects.filter(run__status__in=_ENDED, run__ended_at__lt=before))


def _receipts(before: dt.datetime) -> int:
    return _rows(CallbackReceipt.objects.filter(run__status__in=_ENDED, run__ended_at__lt=before))


def _attempts(before: dt.datetime) -> int:
    """Remove attempts of ended runs but the last one of each step, which names the image."""
    later = Attempt.objects.filter(step_run=OuterRef("step_run"), number__gt=OuterRef("number"))
    old = Attempt.objects.filter(
        Exists(later), step_run__run__status__in=_ENDED, step_run__run__ended_at__lt=before
    )
    return _rows(old)


def _inputs(before: dt.datetime) -> int:
    """Remove the copies of inputs in the folders of attempts; outputs and artifacts stay."""
    ended = Attempt.objects.filter(
        step_run__run__status__in=_ENDED, step_run__run__ended_at__lt=before
    )
    return _remove_inputs(ended)


def _remove_inputs(attempts: "models.QuerySet[Attempt]") -> int:
    """Remove the envelopes and copies of inputs of at most `BATCH` attempts; return the number."""
    kept = attempts.exclude(input_uri="").values_list("pk", "bundle_uri", "input_uri")
    found = list(kept[:BATCH])
    for _, bundle_uri, input_uri in found:
        delete_files(
            *_copies_beside_envelope(bundle_uri, input_uri),
            f"{bundle_uri}/input.json",
            f"{bundle_uri}/inputs/",
        )
    Attempt.objects.filter(pk__in=[pk for pk, *_ in found]).update(input_uri="")
    return len(found)


def _copies_beside_envelope(bundle_uri: str, input_uri: str) -> list[str]:
    """Return the submitted file that an envelope names in the attempt's folder itself.

    Earlier versions stored it there, and not below `inputs/`. Raises StorageError.
    """
    limit = settings.MAX_ENVELOPE_BYTES
    try:
        envelope = json.loads(get_storage(input_uri).read(input_uri, limit=limit))
        uris = [str(item["uri"]) for item in envelope["input_files"]]
    except (ObjectNotFound, ObjectTooLarge, ValueError, KeyError, TypeError):
        return []
    return [uri for uri in uris if uri.rpartition("/")[0] == bundle_uri]


def _submissions(before: dt.datetime) -> int:
    """Remove submissions that no run was ever made of: a launch was interrupted."""
    unused = Submission.objects.filter(run=None, created_at__lt=before)
    batch = list(unused.order_by().defer("inline")[:BATCH])
    # The row is all that names its files, so it goes only after them.
    delete_files(*(content.folder_of(submission) for submission in batch))
    unused.filter(pk__in=[submission.pk for submission in batch]).delete()
    return len(batch)


def _orphaned_files(before: dt.datetime) -> int:
    """Remove the files of attempts, submissions and exports that have no row; return how many files.

    They are left by interrupted launches, by exports whose process died, and by attempts that were
    purged. A row is written before the files of an attempt or an export, and at once after the file of
    a submission, so the row of an old file would be there. The last attempt's artifacts, and those of
    any other, keep their folder.
    """
    _check_data_root()
    removed = 0
    for kind in ("runs", "submissions", "accounts"):
        root = f"{settings.DATA_ROOT}/{kind}/"
        found_uris = get_storage(root).list_written_before(root, before)
        for uris in batched(found_uris, BATCH, strict=False):
            folders = {found[0]: found for found in map(_FOLDER.match, uris) if found}
            for folder in _without_rows(folders):
                removed += get_storage(folder).delete_below(folder)
            if removed >= BATCH:
                return removed
    return removed


def _check_data_root() -> None:
    """Raise DataRootShared unless the marker below DATA_ROOT names this database; write it first."""
    uri = f"{settings.DATA_ROOT}/{MARKER}"
    own = str(Deployment.objects.get_or_create(id=1)[0].database_id)
    storage = get_storage(uri)
    with suppress(ObjectExists):
        if storage.current(uri) is None:
            storage.create(uri, own.encode(), mime_type="text/plain")
    found = storage.read(uri, limit=100).decode(errors="replace").strip()
    if found != own:
        raise DataRootShared(
            f"No orphaned files were removed: {settings.DATA_ROOT} belongs to the database"
            f" {found[:36]!r}, and this one is {own!r}. Give each database a DATA_ROOT of its own. If"
            f" the other database is gone for good, delete {uri} and purge again."
        )


def _without_rows(folders: Mapping[str, re.Match[str]]) -> list[str]:
    """Return the folders whose attempt, submission or export does not exist."""
    rows: set[str] = set()
    owners: dict[str, Any] = {"attempt": Attempt, "submission": Submission, "export": ExportFile}
    for name, model in owners.items():
        keys = [found[name] for found in folders.values() if found[name]]
        there = model.objects.filter(pk__in=keys).values_list("pk", flat=True)
        rows |= {str(pk) for pk in there}
    return [
        folder
        for folder, found in folders.items()
        if (found["attempt"] or found["submission"] or found["export"]) not in rows
        and not (
            found["run"]
            and Artifact.objects.filter(run_id=UUID(found["run"]), uri__startswith=folder).exists()
        )
    ]


def _exports(before: dt.datetime) -> int:
    return remove_exports(ExportFile.objects.filter(requested_at__lt=before), limit=BATCH)


def _stale_exports(now: dt.datetime) -> int:
    return remove_exports(stale_exports(now), limit=BATCH)


def _results(before: dt.datetime) -> int:
    """Remove ended runs whose evidence need not be kept either."""
    days = settings.RETENTION_DAYS["evidence"]
    if days is None:
        return 0
    limit = min(before, timezone.now() - dt.timedelta(days=days))
    old = Run.objects.filter(status__in=_ENDED, ended_at__lt=limit).order_by(F("ended_at"))
    keys = list(old.values_list("pk", flat=True)[:BATCH])
    delete_runs(Run.objects.filter(pk__in=keys))
    return len(keys)


def _kept_by_workflow(field: str, now: dt.datetime) -> "models.QuerySet[Run]":
    """Return the ended runs that their workflow keeps no longer; `field` has the days."""
    days = F(f"workflow__{field}") * dt.timedelta(days=1)
    end = ExpressionWrapper(F("ended_at") + days, output_field=models.DateTimeField())
    runs = Run.objects.filter(status__in=_ENDED).exclude(**{f"workflow__{field}": None})
    return runs.annotate(kept_until=end).filter(kept_until__lt=now).order_by("ended_at")


def _submitted_files(now: dt.datetime) -> int:
    """Remove the submitted files, and their copies in attempts, that workflows keep no longer.

    Only of ended runs: nothing reads them then but a page or a new run on the same file, which finds
    either the whole file or none.
    """
    runs = _kept_by_workflow("input_retention_days", now).filter(
        submission__content_removed_at=None
    )
    batch = list(runs.select_related("submission").defer("submission__inline")[:BATCH])
    for run in batch:
        while _remove_inputs(Attempt.objects.filter(step_run__run=run)):
            pass
        content.remove(run.submission)
    return len(batch)


def _runs_of_workflows(now: dt.datetime) -> int:
    """Remove the runs that workflows keep no longer, unless evidence has to be kept for longer."""
    runs = _kept_by_workflow("result_retention_days", now)
    if days := settings.RETENTION_DAYS["evidence"]:
        runs = runs.filter(ended_at__lt=now - dt.timedelta(days=days))
    keys = list(runs.values_list("pk", flat=True)[:BATCH])
    delete_runs(Run.objects.filter(pk__in=keys))
    return len(keys)


def _statement(sql: str, table: str) -> Callable[[dt.datetime], int]:
    def remove(before: dt.datetime) -> int:
        if table not in connection.introspection.table_names():
            return 0
        with connection.cursor() as cursor:
            cursor.execute(sql, [before, BATCH])
            return int(cursor.rowcount)

    return remove


# By the retention of each workflow, whatever RETENTION_DAYS says.
_OF_WORKFLOWS: Mapping[str, Callable[[dt.datetime], int]] = {
    "submitted_files": _submitted_files,
    "stale_exports": _stale_exports,  # after the submitted files that are in them
    "runs_of_workflows": _runs_of_workflows,
    "trials": purge_trials,
    "jobs": _lost_jobs,
}
_KINDS: Mapping[str, Callable[[dt.datetime], int]] = {
    "idempotency_keys": _idempotency_keys,
    "pending_mails": _pending_mails,
    "limits": _limits,
    "sessions": _statement(_SESSIONS, "django_session"),
    "session_list": _statement(_SESSION_LIST, "usersessions_usersession"),
    "events": _events,
    "receipts": _receipts,
    "webhook_deliveries": purge_deliveries,
    "notifications": purge_notifications,
    "tracking_events": purge_events,
    "support_requests": purge_requests,
    "waitlist": waitlist.purge_entries,
    "audit_entries": purge_entries,
    "exports": _exports,
    "attempts": _attempts,
    "inputs": _inputs,
    "unused_submissions": _submissions,
    "dead_jobs": _statement(_DEAD_JOBS, "procrastinate_jobs"),
    "results": _results,
    # Last: the kinds above make orphans of files whose storage was away.
    "orphaned_files": _orphaned_files,
}
