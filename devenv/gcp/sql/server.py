"""The PostgreSQL behind all emulated instances: databases and roles with the name of their instance."""

import hashlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from devenv.gcp.errors import FailedPrecondition, Internal

_LONGEST = 63  # bytes of an identifier
_DEFAULT_PORT = 5432
SUPERUSER = "cloudsqlsuperuser"
"""Role of an instance that owns its databases and has its users as members, as in Cloud SQL."""


class SqlServer:
    """A PostgreSQL that is reached by the URL of a superuser; an empty URL is none."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __bool__(self) -> bool:
        return bool(self._url)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self._url)
        return parts.hostname or "127.0.0.1", parts.port or _DEFAULT_PORT

    def conninfo(self, database: str) -> str:
        """Return what PostgreSQL's programs take for a database, without the password."""
        text: str = _psycopg().conninfo.make_conninfo(dbname=database)
        return text

    def environ(self) -> dict[str, str]:
        """Return the variables by which PostgreSQL's programs find the server."""
        parts = urlsplit(self._url)
        host, port = self.address
        return {
            "PGHOST": host,
            "PGPORT": str(port),
            "PGUSER": unquote(parts.username or ""),
            "PGPASSWORD": unquote(parts.password or ""),
        }

    async def password_hash(self, instance: str, user: str) -> str:
        """Return the hash of a user's password, which `put_user` takes too; nothing without one."""
        if not self:
            return ""
        async with self._connected() as server:
            question = "SELECT rolpassword FROM pg_authid WHERE rolname = %s"
            found = await server.execute(question, [local_name(instance, user)])
            row = await found.fetchone()
            return (row and row[0]) or ""

    async def copy_out(self, instance: str, database: str, query: str, options: str) -> bytes:
        """Return the rows of a query as CSV, read as a role that may read all tables."""
        async with (
            self._as_role("pg_read_all_data", instance, database) as server,
            server.cursor() as cursor,
        ):
            await server.execute("SET default_transaction_read_only = on")
            statement = f"COPY ({query}) TO STDOUT WITH (FORMAT csv{options})"
            async with cursor.copy(statement) as rows:
                return b"".join([bytes(each) async for each in rows])

    async def copy_in(
        self, instance: str, database: str, target: str, options: str, data: bytes
    ) -> None:
        """Append the rows of CSV to a table, whose name and columns `target` has as identifiers."""
        owner = local_name(instance, SUPERUSER)
        async with self._as_role(owner, instance, database) as server, server.cursor() as cursor:
            statement = f"COPY {target} FROM STDIN WITH (FORMAT csv{options})"
            async with cursor.copy(statement) as rows:
                await rows.write(data)

    @asynccontextmanager
    async def _as_role(self, role: str, instance: str, database: str) -> AsyncIterator[Any]:
        """Connect to a database of an instance as a role."""
        sql = _psycopg().sql
        async with self._connected(local_name(instance, database)) as server:
            await server.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            yield server

    async def create_instance(self, instance: str) -> None:
        """Create the role of an instance that its users are members of."""
        role = local_name(instance, SUPERUSER)
        if not await self._has_role(role):
            await self._run("CREATE ROLE {role} NOLOGIN", role=role)

    async def delete_instance(
        self, instance: str, databases: Iterable[str], users: Iterable[str]
    ) -> None:
        """Drop everything of an instance; what does not exist is left out."""
        for database in databases:
            await self.drop_database(instance, database)
        for user in (*users, SUPERUSER):
            await self.drop_user(instance, user)

    async def create_database(self, instance: str, database: str) -> None:
        name, owner = local_name(instance, database), local_name(instance, SUPERUSER)
        if not await self._finds("SELECT 1 FROM pg_database WHERE datname = %s", name):
            await self._run("CREATE DATABASE {name} OWNER {owner}", name=name, owner=owner)

    async def drop_database(self, instance: str, database: str) -> None:
        name = local_name(instance, database)
        await self._run("DROP DATABASE IF EXISTS {name} WITH (FORCE)", name=name)

    async def put_user(self, instance: str, user: str, password: str) -> None:
        """Create a user, or give it another password; an empty one leaves it as it is."""
        role, owner = local_name(instance, user), local_name(instance, SUPERUSER)
        if not await self._has_role(role):
            statement = "CREATE ROLE {role} LOGIN CREATEDB CREATEROLE IN ROLE {owner}"
            await self._run(statement, role=role, owner=owner)
        if password:
            await self._run("ALTER ROLE {role} PASSWORD {password}", role=role, password=password)

    async def drop_user(self, instance: str, user: str) -> None:
        await self._run("DROP ROLE IF EXISTS {role}", role=local_name(instance, user))

    async def _has_role(self, role: str) -> bool:
        return await self._finds("SELECT 1 FROM pg_roles WHERE rolname = %s", role)

    async def _finds(self, question: str, name: str) -> bool:
        """Return whether a question has an answer; a server that does not exist has none."""
        if not self:
            return False
        async with self._connected() as server:
            found = await server.execute(question, [name])
            return await found.fetchone() is not None

    async def _run(self, statement: str, **names: str) -> None:
        """Execute a statement with names as identifiers; a `password` is a text."""
        if not self:
            return
        sql = _psycopg().sql
        parts = {
            key: sql.Literal(text) if key == "password" else sql.Identifier(text)
            for key, text in names.items()
        }
        async with self._connected() as server:
            await server.execute(sql.SQL(statement).format(**parts))

    @asynccontextmanager
    async def _connected(self, database: str = "") -> AsyncIterator[Any]:
        psycopg = _psycopg()
        try:
            async with await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, **({"dbname": database} if database else {})
            ) as server:
                yield server
        except psycopg.OperationalError as error:
            raise Internal(f"PostgreSQL of gcp.sql_server does not answer: {error}") from error
        except psycopg.Error as error:
            raise FailedPrecondition(f"Invalid request: {error}") from error


def local_name(instance: str, name: str) -> str:
    """Return the name that a database or user of an instance has in the server that all share."""
    full = f"{instance}/{name}"
    if len(full.encode()) <= _LONGEST:
        return full
    return f"{instance[:20]}/{hashlib.sha256(full.encode()).hexdigest()[:40]}"


def _psycopg() -> Any:
    """Return the package, which takes memory that most clouds do without. Raises FailedPrecondition."""
    try:
        import psycopg  # noqa: PLC0415
        import psycopg.conninfo  # noqa: PLC0415
        import psycopg.sql  # noqa: PLC0415
    except ImportError as error:
        raise FailedPrecondition(
            "gcp.sql_server needs the package psycopg: pip install 'devenv-stack[postgres]'."
        ) from error
    return psycopg
