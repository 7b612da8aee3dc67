"""A whole deployment in one file: its database, and the files below a `file://` DATA_ROOT.

The file is a tar: `manifest.json`, `database.dump` (as pg_dump writes it), `files/…`, and in the end
`sums.json` with the SHA-256 of all of them. Secrets are variables, so none are in it; sessions, which
would let a thief in, are left out. The database is copied first: files are never changed once they are
written, so those that its rows name are all there afterwards.
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
    """Write a backup; return how many files are in it. Raises BackupError, OSError."""
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
    """Restore; return how many files were missing here. Raises BackupError, OSError.

    Nothing is changed before all is verified; the database comes last, and all at once.
    """
    with open_backup(path) as archive:
        _check_fit(archive.manifest)
        there = database.tables()
        _check_room(there, replace=replace)
        written = _put_back_files(archive, replace=replace)
        with archive.database() as copy:
            database.put_back(copy)
    call_command("migrate", interactive=False, verbosity=0)
    if there:
        # The backup was made with open doors; whoever shut them opens them again.
        Maintenance.objects.update_or_create(defaults={"note": f"restored from {path.name}"}, id=1)
    return written


def _check_fit(manifest: BackupManifest) -> None:
    if unknown := database.unknown(manifest.migrations):
        raise BackupError(
            f"This backup is of a newer version: it has seen {', '.join(unknown[:3])}, which this"
            " version does not know. Restore it with the version that made it, or a later one."
        )
    if manifest.data_root != settings.DATA_ROOT:
        raise BackupError(
            f"The rows of this backup name files below {manifest.data_root}, and DATA_ROOT is"
            f" {settings.DATA_ROOT}. Set DATA_ROOT={manifest.data_root}"
        )


def _check_room(tables: Sequence[str], *, replace: bool) -> None:
    if not tables:
        return
    name = settings.DATABASES["default"]["NAME"]
    if not replace:
        raise BackupError(
            f"The database {name} has {len(tables)} tables. Restore into an empty one, or lose"
            " what is in this one: --replace"
        )
    if Maintenance._meta.db_table in tables and not maintenance.is_on():  # noqa: SLF001 - documented
        raise BackupError(
            f"The database {name} is in use. Close the site first: manage.py maintenance on"
        )


def _put_back_files(archive: BackupReader, *, replace: bool) -> int:
    folder = files.root()
    if folder is None or not archive.manifest.has_files:
        return 0
    return sum(
        files.put_back(folder, name, content, sha256, replace=replace)
        for name, sha256, content in archive.files()
    )
