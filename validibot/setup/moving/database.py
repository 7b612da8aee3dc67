"""Move of a whole database from PostgreSQL 13 or newer to the one of this installation.

The copy and the fingerprint of the source are made in one snapshot, so that they can be compared while
the source is in use, in a rehearsal. The target is replaced in one transaction.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from validibot.setup.moving import MoveError
from validibot.setup.moving.fingerprints import DatabaseFingerprint, fingerprint
from validibot.setup.programs import ProgramFailed, major_version, run_program

OLDEST_SOURCE, OLDEST_TARGET = 13, 17
_CONNECT_SECONDS = 15
# The schema needs these. Others, such as a platform's own for monitoring, stay behind.
_EXTENSIONS = ("pg_trgm",)
# Variables of libpq: https://www.postgresql.org/docs/17/libpq-envars.html
_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "channel_binding": "PGCHANNELBINDING",
    "options": "PGOPTIONS",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}

type Session = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """Facts about a source, read before anything is copied. `migrations` are `app.name`."""

    version: int
    migrations: list[str]
    is_closed: bool
    left_out: list[str]


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """A database by its address, a URL or a connection string of libpq; it holds the password."""

    conninfo: str = field(repr=False)
    label: str

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Yield a connection in a read-only snapshot. Raises MoveError."""
        try:
            with psycopg.connect(self.conninfo, connect_timeout=_CONNECT_SECONDS) as found:
                found.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield found
        except psycopg.Error as error:
            message = str(error).strip().replace("\n", " ")
            raise MoveError(f"The {self.label} database cannot be read: {message[:500]}") from None

    def environ(self) -> Mapping[str, str]:
        """Return the address as variables: arguments would show the password to every user."""
        try:
            given = conninfo_to_dict(self.conninfo)
        except psycopg.Error as error:
            raise MoveError(
                f"The address of the {self.label} database cannot be read: {error}"
            ) from None
        return {_VARIABLES[name]: str(value) for name, value in given.items() if name in _VARIABLES}


def source_facts(source: DatabaseServer) -> SourceFacts:
    """Return what is known of a source. Raises MoveError if it cannot be moved."""
    source.environ()
    with source.session() as found:
        version = _version(found)
        if version < OLDEST_SOURCE:
            raise MoveError(
                f"The source is PostgreSQL {version}. Upgrade it to {OLDEST_SOURCE} or newer first."
            )
        present = {name for (name,) in found.execute(_OUR_TABLES).fetchall()}
        if not {"django_migrations", "runs_run"} <= present:
            raise MoveError("The source has no tables of Validibot in its schema `public`.")
        migrations = found.execute("SELECT app || '.' || name FROM django_migrations").fetchall()
        return SourceFacts(
            version=version,
            migrations=sorted(str(name) for (name,) in migrations),
            is_closed=bool(found.execute("SELECT 1 FROM core_maintenance").fetchall()),
            left_out=sorted(set(_extensions(found)) - {*_EXTENSIONS, "plpgsql"}),
        )


def move_database(
    source: DatabaseServer, target: DatabaseServer
) -> tuple[DatabaseFingerprint, list[str]]:
    """Replace the target by a copy of the source; return the source's fingerprint and all differences.

    Raises MoveError, and then the target is as it was.
    """
    with source.session() as found, tempfile.TemporaryDirectory(prefix="validibot-move-") as folder:
        _check_programs(_version(found))
        _check_target(target, _version(found))
        before = fingerprint(found)
        ((snapshot,),) = found.execute("SELECT pg_export_snapshot()").fetchall()
        copy = Path(folder, "copy")
        _dump(source, str(snapshot), copy)
        _load(target, copy, elsewhere=_schemas_of_extensions(found))
    with target.session() as found:
        return before, before.differences(fingerprint(found))


_OUR_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


def _version(found: Session) -> int:
    return found.info.server_version // 10000


def _extensions(found: Session) -> dict[str, str]:
    """Return the schema of each extension."""
    query = "SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
    return {str(name): str(schema) for name, schema in found.execute(query).fetchall()}


def _schemas_of_extensions(found: Session) -> dict[str, str]:
    """Return the extensions of ours that are outside of `public`, as Heroku has them, with their schema."""
    there = _extensions(found)
    return {name: there[name] for name in _EXTENSIONS if there.get(name, "public") != "public"}


def _check_programs(version: int) -> None:
    """Raise MoveError unless the client programs can read a server of this version."""
    try:
        programs = {name: major_version(name) for name in ("pg_dump", "pg_restore", "psql")}
    except ProgramFailed as error:
        raise MoveError(str(error)) from None
    for name, found in programs.items():
        if found < version:
            raise MoveError(
                f"{name} is of version {found} and the source of {version}. Install the client programs of"
                f" version {version} or newer, and put them first on the PATH."
            )


def _check_target(target: DatabaseServer, version: int) -> None:
    with target.session() as found:
        if _version(found) < max(version, OLDEST_TARGET):
            raise MoveError(
                f"The target is PostgreSQL {_version(found)}; it must be {max(version, OLDEST_TARGET)} or"
                " newer."
            )
        offered = found.execute(
            "SELECT name FROM pg_available_extensions WHERE name = ANY(%s)", [list(_EXTENSIONS)]
        ).fetchall()
        if missing := {*_EXTENSIONS} - {str(name) for (name,) in offered}:
            raise MoveError(f"The target does not offer the extension {', '.join(missing)}.")


def _dump(source: DatabaseServer, snapshot: str, copy: Path) -> None:
    _run(
        "pg_dump",
        *("--format=custom", "--schema=public", "--no-owner", "--no-privileges", "--no-comments"),
        *(f"--extension={name}" for name in _EXTENSIONS),
        *(f"--snapshot={snapshot}", f"--file={copy}"),
        environ=source.environ(),
    )


def _load(target: DatabaseServer, copy: Path, *, elsewhere: Mapping[str, str]) -> None:
    """Replace the target's schema by a copy, in one transaction.

    The copy creates an extension where the source has it, in a schema that the target may lack; it is
    moved to `public` afterwards, where migrations create it.
    """
    before = ["SET client_min_messages = 'warning'", "SET lock_timeout = '30s'"]
    before += ["DROP SCHEMA IF EXISTS public CASCADE"]
    before += [f"DROP EXTENSION IF EXISTS {_quoted(name)} CASCADE" for name in _EXTENSIONS]
    after = []
    for name, schema in elsewhere.items():
        before.append(f"CREATE SCHEMA IF NOT EXISTS {_quoted(schema)}")
        after.append(f"ALTER EXTENSION {_quoted(name)} SET SCHEMA public")
        after.append(f"DROP SCHEMA {_quoted(schema)}")
    first, script, last = (copy.with_suffix(each) for each in (".first", ".sql", ".last"))
    first.write_text(";\n".join([*before, ""]))
    last.write_text(";\n".join([*after, ""]))
    _run("pg_restore", "--no-owner", "--no-privileges", f"--file={script}", str(copy), environ={})
    _run(
        "psql",
        *("--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"),
        *(f"--output={os.devnull}", f"--file={first}", f"--file={script}", f"--file={last}"),
        environ=target.environ(),
    )


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()


def _run(program: str, *arguments: str, environ: Mapping[str, str]) -> None:
    try:
        run_program(program, *arguments, environ=environ)
    except ProgramFailed as error:
        raise MoveError(str(error)) from None
