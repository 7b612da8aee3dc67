"""Backup of a whole deployment: its database, and the files below a `file://` DATA_ROOT.

A backup is a tar file: `manifest.json`, `database.dump` (in pg_dump's custom format), `files/…`, and
last `sums.json` with the SHA-256 of each member. It has no secrets, which are environment variables,
and neither sessions nor mails that wait, with which a thief of the backup could sign in. The
database is copied first: files never change once they are written, so every file that a row names is
still there afterwards.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.management import call_command
from django.utils import timezone

from validibot.core import maintenance
from validibot.core.models import Maintenance
from validibot.setup.backup import database, files
from validibot.setup.backup.archive import (
    DATABASE,
    BackupError,
    BackupManifest,
    BackupReader,
    BackupWriter,
    open_backup,
)

__all__ = ["BackupError", "backup", "restore"]


def backup(output: IO[bytes]) -> int:
    """Write a backup; return the number of files in it. Raises BackupError and OSError."""
    folder = files.root()
    manifest = BackupManifest(
        made_at=timezone.now().isoformat(timespec="seconds"),
        data_root=settings.DATA_ROOT,
        has_files=folder is not None,
        migrations=database.migrations(),
    )
    writer = BackupWriter(output, manifest)
    with tempfile.TemporaryFile() as copy:
        database.dump(copy)
        size = copy.seek(0, 2)
        copy.seek(0)
        writer.add(DATABASE, copy, size)
    if folder:
        files.add_all(folder, writer)
    return writer.close()


def restore(path: Path, *, replace: bool) -> int:
    """Restore a backup; return the number of files written. Raises BackupError and OSError.

    Nothing changes before everything is verified. The database is replaced last, in one transaction.
    """
    with open_backup(path) as archive:
        _check_compatible(archive.manifest)
        tables = database.tables()
        _check_target(tables, replace=replace)
        written = _restore_files(archive, replace=replace)
        with archive.database() as copy:
            database.load(copy)
    call_command("migrate", interactive=False, verbosity=0)
    if tables:
        # The backup was made without maintenance; the operator who turned it on turns it off.
        Maintenance.objects.update_or_create(defaults={"note": f"restored from {path.name}"}, id=1)
    return written


def _check_compatible(manifest: BackupManifest) -> None:
    if unknown := database.unknown(manifest.migrations):
        raise BackupError(
            f"The backup is of a newer version: it has the migrations {', '.join(unknown[:3])}, which"
            " this version lacks. Restore it with the version that made it, or a later one."
        )
    if manifest.data_root != settings.DATA_ROOT:
        raise BackupError(
            f"The backup's files are below {manifest.data_root}, but DATA_ROOT is"
            f" {settings.DATA_ROOT}. Set DATA_ROOT={manifest.data_root}"
        )


def _check_target(tables: Sequence[str], *, replace: bool) -> None:
    if not tables:
        return
    name = settings.DATABASES["default"]["NAME"]
    if not replace:
        raise BackupError(
            f"The database {name} has {len(tables)} tables. Restore into an empty database, or delete"
            " its content with --replace"
        )
    if Maintenance._meta.db_table in tables and not maintenance.is_on():  # noqa: SLF001 - documented
        raise BackupError(
            f"The database {name} is in use. Turn maintenance on first: manage.py maintenance on"
        )


def _restore_files(archive: BackupReader, *, replace: bool) -> int:
    folder = files.root()
    if folder is None or not archive.manifest.has_files:
        return 0
    return sum(
        files.restore(folder, name, content, sha256, replace=replace)
        for name, sha256, content in archive.files()
    )
