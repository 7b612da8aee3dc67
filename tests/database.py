"""PostgreSQL for the tests: one migrated template per checkout, one private server per process.

Making a cluster and running all migrations takes longer than most selections of tests, so both are
done once and kept in pytest's cache, under a digest of everything that they depend on. Each test
process copies the template to memory and starts a server on the copy: nothing is shared while tests
run, so processes of one checkout or of several cannot disturb each other, and a killed run leaves
nothing that could block the next. The server dies with its process; a later run deletes the copy.

A mutation run starts thousands of short test processes. It starts one server for all of them and
names it in the environment (`SHARED`); each process then copies the database inside that server.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGINT, SIGQUIT, Signals

import psycopg
from django.db import connection, connections, transaction
from psycopg import sql
from psycopg.conninfo import make_conninfo

from devenv.secrets import POSTGRES_PASSWORD, Secrets
from devenv.services.builtin import postgres_binaries
from tests.ports import free_port
from tests.waiting import until

ROOT = Path(__file__).parents[1]
NAME = "test_validibot"
PRISTINE = "validibot"
"""A migrated and empty copy of `NAME` to which no test connects: a template of further ones."""
SHARED = "VALIDIBOT_TEST_DATABASE_SERVER"
_KEPT = ("auth_permission", "django_content_type")
_PREFIX = "validibot-tests-"
_MEMORY_WANTED = 2 << 30
_INPUTS = (
    "config/settings/*.py",
    "devenv/services/launch_postgres.py",
    "requirements/dev.txt",
    "tests/database.py",
    "validibot/**/migrations/*.py",
)

type Address = dict[str, str]


def digest(patterns: Iterable[str] = _INPUTS) -> str:
    """Return a key that changes with the files below the root folder that match a pattern.

    By default it is that of the template, which changes with each migration and each package.
    """
    found = hashlib.sha256()
    for pattern in patterns:
        for path in sorted(path for path in ROOT.glob(pattern) if path.is_file()):
            if path.suffix != ".pyc":
                found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def shared_server() -> Address | None:
    """Return the address of the server that this process shares with others, if there is one."""
    address = os.environ.get(SHARED)  # noqa: TID251 - nothing of the product reads it
    return json.loads(address) if address else None


@contextmanager
def copied(server: Address) -> Iterator[Address]:
    """Make a further migrated and empty database on a server; yield its address.

    It is a copy of `PRISTINE`: a copy of `NAME` would be refused while a test holds a connection to it,
    and hold what tests have written.
    """
    name = f"{NAME}_{os.getpid()}"
    address = make_conninfo(dbname="postgres", **{key.lower(): server[key] for key in server})
    with psycopg.connect(address, autocommit=True) as admin:
        copy, original = sql.Identifier(name), sql.Identifier(PRISTINE)
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(copy)
        admin.execute(drop)  # of an earlier process of this number, if it was killed
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(copy, original))
        yield {**server, "NAME": name}
        admin.execute(drop)


def create(server: Address) -> None:
    """Create and migrate the database `NAME`, and `PRISTINE` from it. Django has to be set up."""
    connection.settings_dict.update(server)
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    connections.close_all()
    address = make_conninfo(dbname="postgres", **{key.lower(): server[key] for key in server})
    with psycopg.connect(address, autocommit=True) as admin:
        copy, original = sql.Identifier(PRISTINE), sql.Identifier(NAME)
        admin.execute(sql.SQL("DROP DATABASE {}").format(copy))  # which each server is made with
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(copy, original))


def empty() -> None:
    """Delete all rows that a test has committed. Django has to be set up.

    Django's own flush truncates every table and fills those of content types and permissions anew,
    which takes 0.1 s and more; here those two stay, as no test changes them.
    """
    tables = [
        name
        for name in connection.introspection.django_table_names(include_views=False)
        if name not in _KEPT
    ]
    filled = sql.SQL(" UNION ALL ").join(
        sql.SQL("(SELECT {} FROM {} LIMIT 1)").format(sql.Literal(name), sql.Identifier(name))
        for name in tables
    )
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(filled.as_string())
        written = [name for (name,) in cursor.fetchall()]
        # Rows go in any order, and no trigger of ours keeps any.
        cursor.execute("SET LOCAL session_replication_role = replica")
        for name in written:
            cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)).as_string())


@contextmanager
def migrated(cache: Path, migrate: Callable[[Address], None]) -> Iterator[Address]:
    """Run a server that has the migrated database `NAME`, from a template in the folder `cache`.

    `migrate` gets the address of an empty server and creates the database there; it is called only
    if the cache has no template for the present code.
    """
    folder = place()
    _delete_abandoned(folder)
    home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    try:
        with locked(home / "lock"):
            data = home / "postgres"
            copy_template(cache, data, migrate)
            with server(data) as address:
                yield address
    finally:
        shutil.rmtree(home)


def copy_template(cache: Path, to: Path, migrate: Callable[[Address], None]) -> None:
    """Copy the folder of a stopped server that has `NAME` and `PRISTINE`, and the secrets beside it."""
    with locked(cache / "lock"):
        template = cache / digest()
        if template.exists():
            copy_folder(template, to)
        else:
            _make_template(template, to, migrate)


def _make_template(template: Path, data: Path, migrate: Callable[[Address], None]) -> None:
    """Make a cluster in `data`, and keep a copy of it in place of all older templates."""
    data.mkdir()
    with server(data, stop_signal=SIGINT) as address:
        migrate(address)
    for old in template.parent.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    draft = template.with_name("draft")
    copy_folder(data, draft)
    draft.rename(template)


def copy_folder(folder: Path, to: Path) -> None:
    # Three times as fast as shutil: there are two thousand small files.
    subprocess.run(["cp", "-R", str(folder), str(to)], check=True)


def place() -> Path:
    """Return where copies are made and tests write: in memory, where Linux has some to spare."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _MEMORY_WANTED:
        return memory
    return Path(tempfile.gettempdir())


def _delete_abandoned(folder: Path) -> None:
    """Delete the copies of test processes that were killed: nobody holds their lock.

    A copy that is younger than a minute may belong to a process that has yet to take its lock.
    """
    for home in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if home.stat().st_mtime < time.time() - 60:
                with locked(home / "lock", wait=False):
                    shutil.rmtree(home, ignore_errors=True)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock until the block ends or this process does. Raises OSError if it may not wait."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


@contextmanager
def server(folder: Path, *, stop_signal: Signals = SIGQUIT) -> Iterator[Address]:
    """Run a server on a data folder, which is created if it is empty.

    SIGQUIT stops it at once and leaves the folder unclean; only a copy that nobody needs may end so.
    """
    secrets = folder / "secrets.env"
    password = Secrets.load(secrets, {})[POSTGRES_PASSWORD]
    port = str(free_port())
    arguments = ["--data", str(folder), "--port", port, "--secrets", str(secrets)]
    arguments += ["--database", PRISTINE]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "devenv.services.launch_postgres", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    ready = [str(postgres_binaries() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", port]

    def answers() -> bool:
        if process.poll() is not None:
            raise AssertionError((folder / "server.log").read_text())
        return subprocess.run(ready, check=False).returncode == 0

    try:
        until(answers, every=0.02)
        yield {"HOST": "127.0.0.1", "PORT": port, "USER": "validibot", "PASSWORD": password}
    finally:
        process.send_signal(stop_signal)
        process.wait()
