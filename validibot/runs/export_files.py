"""Exports that take time: made by a task, kept as files, and handed out at once from then on.

Reports and archives are made of ended runs only, whose results do not change, so each is made once for
all readers of a language and time zone. A file that is removed, by retention or with a storage, is made
anew when somebody asks for it.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from django.db import DatabaseError, transaction
from django.db.models import F, QuerySet
from django.tasks import task
from django.utils import timezone, translation

from validibot.accounts.models import User
from validibot.core import maintenance
from validibot.core.models import RowId
from validibot.core.storage import ObjectNotFound, StorageError, StoredObject, get_storage
from validibot.dispatch import TryLater
from validibot.dispatch.files import delete_files
from validibot.runs.account_archive import write_account_archive
from validibot.runs.bundle import write_bundle
from validibot.runs.exports import FORMATS
from validibot.runs.models import ExportFile, ExportState, Run

QUEUE = "exports"
# After so many beginnings without an end: what is to be made ends the process that makes it.
MAX_TRIES = 5
# A failed export is made again if somebody asks later than this.
RETRY_AFTER = dt.timedelta(minutes=1)
# After so long the sweep enqueues the task again; it gives up after a day.
LOST_AFTER = dt.timedelta(minutes=5)
GIVE_UP_AFTER = dt.timedelta(days=1)
# The data of an account changes: a file of it is handed out for so long, then made anew.
ACCOUNT_FILE_LASTS = dt.timedelta(minutes=10)
BUNDLE = "bundle"
ACCOUNT = "account"

logger = logging.getLogger(__name__)


class ExportRefused(Exception):
    """Nothing is made while the deployment is under maintenance."""


@dataclass(frozen=True, slots=True)
class ExportKind:
    """A kind of export of a run; `has_texts` tells whether it depends on the reader's language."""

    extension: str
    write: Callable[[Run], Iterable[bytes]]
    has_texts: bool = False


def _whole(write: Callable[[Run], bytes]) -> Callable[[Run], Iterable[bytes]]:
    return lambda run: [write(run)]


KINDS = {
    kind: ExportKind(each.extension, _whole(each.write), has_texts=True)
    for kind, each in FORMATS.items()
    if each.by_task
} | {BUNDLE: ExportKind("zip", write_bundle)}


def request_export(run: Run, kind: str) -> ExportFile:
    """Return the export of an ended run; one that there is not yet is made by a task.

    Raises ExportRefused.
    """
    language, zone = "", ""
    if KINDS[kind].has_texts:
        language, zone = translation.get_language() or "", timezone.get_current_timezone_name()
    return _request(ExportFile(run=run, kind=kind, language=language, time_zone=zone))


def request_account_export(user: User) -> ExportFile:
    """Return the export of an account's data; one that there is not yet is made by a task."""
    return _request(ExportFile(user=user, kind=ACCOUNT))


def open_export(export: ExportFile) -> Iterator[bytes] | None:
    """Return the bytes of an export, or None if it is not there (yet). Raises StorageError."""
    if export.state != ExportState.READY:
        return None
    chunks = get_storage(export.uri).stream(export.uri, version=export.storage_version)
    try:
        first = next(chunks, b"")
    except ObjectNotFound:
        if not maintenance.is_on():
            remove_exports(ExportFile.objects.filter(pk=export.pk))
        return None
    return _chained(first, chunks)


@task(queue_name=QUEUE)
def make_export(export_id: RowId, folder: str = "") -> None:
    """Make the file of an export below `folder`; a repetition changes nothing.

    Of an export that was removed meanwhile, by the deletion of its account or run, nothing is left.
    """
    found = ExportFile.objects.select_related("run__workflow", "run__submission", "user")
    export = found.defer("run__submission__inline").filter(pk=export_id).first()
    pending = ExportFile.objects.filter(pk=export_id, state=ExportState.PENDING)
    if export is None:
        # A process that ended while it wrote the file could not delete it.
        delete_files(*filter(None, [folder]))
        return
    if not pending.filter(tries__lt=MAX_TRIES).update(tries=F("tries") + 1):
        if pending.update(state=ExportState.FAILED):
            logger.error("export %s ended its process %d times", export_id, MAX_TRIES)
        return
    _make(export, pending)


def lost_exports(now: dt.datetime, *, limit: int) -> list[tuple[str, str]]:
    """Return the exports that were not made in time, with a key for each (as `fmu.lost_probes`)."""
    pending = ExportFile.objects.filter(state=ExportState.PENDING)
    pending.filter(requested_at__lt=now - GIVE_UP_AFTER).update(state=ExportState.FAILED)
    lost = pending.filter(requested_at__lt=now - LOST_AFTER).order_by("requested_at")
    return [
        (str(pk), f"export-{pk}-{(now - asked) // dt.timedelta(hours=1)}")
        for pk, asked in lost.values_list("pk", "requested_at")[:limit]
    ]


def stale_exports(now: dt.datetime) -> "QuerySet[ExportFile]":
    """Return archives of runs whose submitted file was removed since, and old files of accounts."""
    removed = F("run__submission__content_removed_at")
    bundles = ExportFile.objects.filter(kind=BUNDLE, requested_at__lte=removed)
    accounts = ExportFile.objects.filter(kind=ACCOUNT, requested_at__lt=now - ACCOUNT_FILE_LASTS)
    return bundles | accounts


def remove_exports(exports: "QuerySet[ExportFile]", *, limit: int = 1) -> int:
    """Remove at most `limit` exports, their files first; return how many. Raises StorageError."""
    found = list(exports.select_related("run").only("user", "run__organisation")[:limit])
    rows = ExportFile.objects.filter(pk__in=[each.pk for each in found])
    # A task that is writing one of them then deletes its file itself.
    rows.update(state=ExportState.FAILED)
    for export in found:
        get_storage(export.folder).delete_below(export.folder)
    rows.delete()
    return len(found)


def _request(wanted: ExportFile) -> ExportFile:
    names = ("run", "user", "kind", "language", "time_zone")
    key = {name: getattr(wanted, name) for name in names}
    now = timezone.now()
    existing = ExportFile.objects.filter(**key)
    if maintenance.is_on():
        if made := existing.filter(state=ExportState.READY).first():
            return made
        raise ExportRefused(maintenance.DETAIL)
    failed = existing.filter(state=ExportState.FAILED, requested_at__lt=now - RETRY_AFTER)
    remove_exports(failed | (existing & stale_exports(now)))
    export, is_new = ExportFile.objects.get_or_create(**key)
    if is_new:
        # If the queue is out of reach, the sweep enqueues it later.
        transaction.on_commit(
            partial(make_export.enqueue, str(export.pk), export.folder), robust=True
        )
        export.refresh_from_db()  # a backend without a queue has made it
    return export


def _make(export: ExportFile, pending: "QuerySet[ExportFile]") -> None:
    """Write the file, and note it in the row that is still `pending`. Raises TryLater."""
    try:
        stored = _written(export)
    except StorageError as error:
        pending.update(tries=F("tries") - 1)
        raise TryLater(str(error)) from error
    except DatabaseError:
        raise
    except Exception:
        if pending.update(state=ExportState.FAILED):
            logger.exception("export %s (%s) cannot be made", export.pk, export)
        return
    if not pending.update(
        state=ExportState.READY,
        uri=stored.uri,
        storage_version=stored.version,
        size_bytes=stored.size_bytes,
    ):
        # Another delivery was faster, or the export was removed meanwhile.
        delete_files(stored.uri)


def _written(export: ExportFile) -> StoredObject:
    """Write the file as its readers see the run. Raises StorageError."""
    with ExitStack() as reader:
        if export.language:
            reader.enter_context(translation.override(export.language))
            reader.enter_context(timezone.override(export.time_zone))
        if export.run is not None:
            extension = KINDS[export.kind].extension
            chunks = KINDS[export.kind].write(export.run)
        else:
            assert export.user is not None, "a constraint of the table"
            extension, chunks = "zip", write_account_archive(export.user)
        uri = f"{export.folder}{uuid4().hex}.{extension}"
        return get_storage(uri).create_streamed(uri, chunks, mime_type="application/octet-stream")


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
