"""The database of a backup, by PostgreSQL's own programs."""

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

# Its rows would let a thief of the backup in, as whoever was signed in.
_SESSIONS = "django_session"
# In one transaction with what follows: either all is replaced or nothing is.
_MAKE_ROOM = "SET lock_timeout = '30s';\nDROP SCHEMA IF EXISTS public CASCADE;\n"


def tables() -> list[str]:
    return connection.introspection.table_names()


def migrations() -> list[str]:
    """Return what the database has seen, as `app.name`."""
    return sorted(".".join(key) for key in MigrationLoader(connection).applied_migrations)


def unknown(seen: Sequence[str]) -> list[str]:
    """Return which of these migrations this version of the product does not have."""
    known = {".".join(key) for key in MigrationLoader(connection).disk_migrations or {}}
    return [name for name in seen if name not in known]


def dump(target: IO[bytes]) -> None:
    """Write a consistent copy of our schema, without who owns what. Raises BackupError."""
    _run(
        "pg_dump",
        *("--format=custom", "--schema=public", "--no-owner", "--no-privileges"),
        f"--exclude-table-data={_SESSIONS}",
        *_database(),
        stdout=target,
    )


def put_back(source: IO[bytes]) -> None:
    """Replace our schema by a copy, whole or not at all. Raises BackupError."""
    connection.close()
    with TemporaryDirectory(prefix="validibot-restore-") as folder:
        room, copy, script = (Path(folder) / name for name in ("room.sql", "copy", "copy.sql"))
        room.write_text(_MAKE_ROOM)
        with copy.open("wb") as file:
            shutil.copyfileobj(source, file)
        _run("pg_restore", "--no-owner", "--no-privileges", f"--file={script}", str(copy))
        _run(
            "psql",
            *("--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"),
            *(f"--output={os.devnull}", f"--file={room}", f"--file={script}"),
            *_database(),
        )


def _database() -> Sequence[str]:
    arguments, _ = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    return arguments[1:]


def _run(program: str, *arguments: str, stdout: IO[bytes] | None = None) -> None:
    path = shutil.which(program)
    if path is None:
        raise BackupError(
            f"{program} is not on this machine. Install PostgreSQL's client programs, not older than"
            " the server: apt-get install postgresql-client"
        )
    _, told = connection.client.settings_to_cmd_args_env(connection.settings_dict, [])
    done = subprocess.run(  # noqa: S603 - a program of PostgreSQL's, with our own settings
        [path, *arguments],
        env={"PATH": os.defpath, **(told or {})},
        stdin=subprocess.DEVNULL,
        stdout=stdout or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        raise BackupError(f"{program} failed: {said}")
