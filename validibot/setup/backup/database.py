"""Dump and restore of the database with PostgreSQL's client programs."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from django.db import connection
from django.db.migrations.loader import MigrationLoader

from validibot.setup.backup.archive import BackupError

# A thief of the backup could sign in with a session or with the link of a mail that waits; counts of
# failures are of no use later.
_WITHOUT_ROWS = ("django_session", "core_pendingmail", "core_cache", "core_failurecount")
# Runs in one transaction with the restore: everything is replaced or nothing is.
_DROP_SCHEMA = "SET lock_timeout = '30s';\nDROP SCHEMA IF EXISTS public CASCADE;\n"


def tables() -> list[str]:
    """Return the names of the tables of the database."""
    return connection.introspection.table_names()


def migrations() -> list[str]:
    """Return the migrations applied to the database, as `app.name`."""
    return sorted(".".join(key) for key in MigrationLoader(connection).applied_migrations)


def unknown(seen: Sequence[str]) -> list[str]:
    """Return those of the applied migrations that this version of the product does not have."""
    known = {".".join(key) for key in MigrationLoader(connection).disk_migrations or {}}
    return [name for name in seen if name not in known]


def dump(target: IO[bytes]) -> None:
    """Write a consistent copy of our schema, without owners and privileges. Raises BackupError."""
    _run(
        "pg_dump",
        *("--format=custom", "--schema=public", "--no-owner", "--no-privileges"),
        *(f"--exclude-table-data={table}" for table in _WITHOUT_ROWS),
        *_database(),
        stdout=target,
    )


def load(source: IO[bytes]) -> None:
    """Replace our schema by a copy, in one transaction. Raises BackupError."""
    connection.close()
    with TemporaryDirectory(prefix="validibot-restore-") as folder:
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
    path = shutil.which(program)
    if path is None:
        raise BackupError(
            f"{program} is not installed. Install PostgreSQL's client programs, at least of the"
            " server's version: apt-get install postgresql-client"
        )
    _, environ = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    done = subprocess.run(  # noqa: S603 - a program of PostgreSQL's, with our own settings
        [path, *arguments],
        env={"PATH": os.defpath, **(environ or {})},
        stdin=subprocess.DEVNULL,
        stdout=stdout or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        message = done.stderr.decode(errors="replace").strip()[-2000:]
        raise BackupError(f"{program} failed: {message}")
