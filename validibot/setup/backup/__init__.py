"""Backup of a whole deployment: its database, and the files below a `file://` DATA_ROOT.

A backup is a tar file: `manifest.json`, `database.dump` (in pg_dump's custom format), `files/…`, and
last `sums.json` with the SHA-256 of each member. It has no secrets, which are environment variables,
and neither sessions nor mails that wait, with which a thief of the backup could sign in. The
database is copied first: files never change once they are written, so every file that a row names is
still there afterwards.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from validibot.core import maintenance
from validibot.core.models import Maintenance
from validibot.setup.backup.archive import (
    DATABASE,
    BackupError,
    BackupManifest,
    BackupReader,
    BackupWriter,
    add_files,
    files_root,
    open_backup,
    restore_file,
)
from validibot.setup.programs import ProgramFailed, run_program
from validibot.workflows.images import request_all

__all__ = [
    "BackupError",
    "backup",
    "check_target",
    "database_tables",
    "restore",
    "unknown_migrations",
]

# A thief of the backup could sign in with a session or with the link of a mail that waits; counts of
# failures are of no use later.
_WITHOUT_ROWS = ("django_session", "core_pendingmail", "core_cache", "core_failurecount")
# Runs in one transaction with the restore: everything is replaced or nothing is.
_DROP_SCHEMA = "SET lock_timeout = '30s';\nDROP SCHEMA IF EXISTS public CASCADE;\n"


def backup(output: IO[bytes]) -> int:
    """Write a backup; return the number of files in it. Raises BackupError and OSError."""
    folder = files_root()
    manifest = BackupManifest(
        made_at=timezone.now().isoformat(timespec="seconds"),
        data_root=settings.DATA_ROOT,
        has_files=folder is not None,
        migrations=_migrations(),
    )
    writer = BackupWriter(output, manifest)
    with tempfile.TemporaryFile() as copy:
        dump_database(copy)
        size = copy.seek(0, 2)
        copy.seek(0)
        writer.add(DATABASE, copy, size)
    if folder:
        add_files(folder, writer)
    return writer.close()


def restore(path: Path, *, replace: bool) -> int:
    """Restore a backup; return the number of files written. Raises BackupError and OSError.

    Nothing changes before everything is verified. The database is replaced last, in one transaction.
    """
    with open_backup(path) as archive:
        _check_compatible(archive.manifest)
        tables = database_tables()
        check_target(tables, replace=replace)
        written = _restore_files(archive, replace=replace)
        with archive.database() as copy:
            _load_database(copy)
    call_command("migrate", interactive=False, verbosity=0)
    request_all()  # public media may be in a bucket, which the backup does not have
    if tables:
        # The backup was made without maintenance; the operator who turned it on turns it off.
        Maintenance.objects.update_or_create(defaults={"note": f"restored from {path.name}"}, id=1)
    return written


def _check_compatible(manifest: BackupManifest) -> None:
    if unknown := unknown_migrations(manifest.migrations):
        raise BackupError(
            f"The backup is of a newer version: it has the migrations {', '.join(unknown[:3])}, which"
            " this version lacks. Restore it with the version that made it, or a later one."
        )
    if manifest.data_root != settings.DATA_ROOT:
        raise BackupError(
            f"The backup's files are below {manifest.data_root}, but DATA_ROOT is"
            f" {settings.DATA_ROOT}. Set DATA_ROOT={manifest.data_root}"
        )


def check_target(tables: Sequence[str], *, replace: bool) -> None:
    """Raise BackupError unless the database, which has these tables, may be replaced."""
    if not tables:
        return
    name = settings.DATABASES["default"]["NAME"]
    if not replace:
        raise BackupError(
            f"The database {name} has {len(tables)} tables. Use an empty database, or delete its"
            " content with --replace"
        )
    if Maintenance._meta.db_table in tables and not maintenance.is_on():  # noqa: SLF001 - documented
        raise BackupError(
            f"The database {name} is in use. Turn maintenance on first: manage.py maintenance on"
        )


def _restore_files(archive: BackupReader, *, replace: bool) -> int:
    folder = files_root()
    if folder is None or not archive.manifest.has_files:
        return 0
    return sum(
        restore_file(folder, name, content, sha256, replace=replace)
        for name, sha256, content in archive.files()
    )


def database_tables() -> list[str]:
    """Return the names of the tables of the database."""
    return connection.introspection.table_names()


def _migrations() -> list[str]:
    """Return the migrations applied to the database, as `app.name`."""
    return sorted(".".join(key) for key in MigrationLoader(connection).applied_migrations)


def unknown_migrations(seen: Sequence[str]) -> list[str]:
    """Return those of the applied migrations that this version of the product does not have.

    It has those, too, that a squashed migration replaces, though their files are gone.
    """
    found = MigrationLoader(connection).disk_migrations or {}
    known = {*found, *(key for each in found.values() for key in each.replaces)}
    return [name for name in seen if tuple(name.split(".", 1)) not in known]


def dump_database(target: IO[bytes]) -> None:
    """Write a consistent copy of our schema, without owners and privileges. Raises BackupError.

    Of an extension, which belongs to no schema for pg_dump, it has the command that creates it.
    """
    _run(
        "pg_dump",
        *("--format=custom", "--schema=public", "--extension=pg_trgm"),
        *("--no-owner", "--no-privileges", "--no-comments"),
        *(f"--exclude-table-data={table}" for table in _WITHOUT_ROWS),
        *_database(),
        stdout=target,
    )


def _load_database(source: IO[bytes]) -> None:
    """Replace our schema by a copy, in one transaction. Raises BackupError."""
    connection.close()
    with tempfile.TemporaryDirectory(prefix="validibot-restore-") as folder:
        drop, copy, script = (Path(folder) / name for name in ("drop.sql", "copy", "copy.sql"))
        drop.write_text(_DROP_SCHEMA)
        with copy.open("wb") as file:
            shutil.copyfileobj(source, file)
        _run("pg_restore", "--no-owner", "--no-privileges", f"--file={script}", str(copy))
        _run(
            "psql",
            *("--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"),
            *(f"--output={os.devnull}", f"--file={drop}", f"--file={script}"),
            *_database(),
        )


def _database() -> Sequence[str]:
    arguments, _ = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    return arguments[1:]


def _run(program: str, *arguments: str, stdout: IO[bytes] | None = None) -> None:
    """Run a program on our database. Raises BackupError."""
    _, environ = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    try:
        run_program(program, *arguments, environ=environ or {}, stdout=stdout)
    except ProgramFailed as error:
        raise BackupError(str(error)) from None
