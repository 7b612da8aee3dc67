"""Move of a database between two servers, and the databases that are refused."""

import io
from collections.abc import Iterator
from unittest.mock import Mock

import psycopg
import pytest
from django.core.management import CommandError, call_command
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pytest_django import DjangoDbBlocker

from devenv.services.builtin import postgres_binaries
from tests import database
from validibot.setup.moving import MoveError
from validibot.setup.moving.database import DatabaseServer, move_database, source_facts
from validibot.setup.moving.fingerprints import DatabaseFingerprint, TableFingerprint

SOURCE, TARGET = "moving_source", "moving_target"


def address_of(server: database.Address, name: str) -> str:
    given = {key.lower(): value for key, value in server.items() if key != "NAME"}
    return make_conninfo(dbname=name, **given)


@pytest.fixture
def _programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(postgres_binaries()), prepend=":")


@pytest.fixture(scope="module")
def source(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> Iterator[DatabaseServer]:
    """A migrated database of a second server, with its extension where Heroku has it, and some rows."""

    def migrate(address: database.Address) -> None:
        with django_db_blocker.unblock():
            database.create(address)

    cache = request.config.cache.mkdir("postgres")
    with database.migrated(cache, migrate) as server:
        with psycopg.connect(address_of(server, "postgres"), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {SOURCE} TEMPLATE {database.PRISTINE}")
        address = address_of(server, SOURCE)
        with psycopg.connect(address) as found:
            found.execute("CREATE SCHEMA heroku_ext")
            found.execute("ALTER EXTENSION pg_trgm SET SCHEMA heroku_ext")
            found.execute(
                "INSERT INTO django_content_type (app_label, model)"
                " SELECT 'Käse', n::text FROM generate_series(1, 7) n"
            )
        yield DatabaseServer(address, "source")


@pytest.fixture
def target(database_server: database.Address) -> Iterator[DatabaseServer]:
    """An empty database of the tests' own server."""
    name = sql.Identifier(TARGET)
    with psycopg.connect(address_of(database_server, "postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
        yield DatabaseServer(address_of(database_server, TARGET), "target")
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.mark.usefixtures("_programs")
def test_copy_on_another_server_equals_the_source(
    source: DatabaseServer, target: DatabaseServer
) -> None:
    before, differences = move_database(source, target)

    assert differences == []
    assert before.tables["django_content_type"].rows >= 7
    assert before.sequences["django_content_type_id_seq"] >= 7
    with psycopg.connect(target.conninfo) as found:
        schemas = found.execute(
            "SELECT extnamespace::regnamespace::text FROM pg_extension"
        ).fetchall()
        indexes = found.execute(
            "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%gin_trgm_ops%'"
        ).fetchone()
    assert ("public",) in schemas
    assert ("heroku_ext",) not in schemas
    assert indexes not in (None, (0,))


@pytest.mark.usefixtures("_programs")
def test_failed_copy_leaves_the_target_as_it_was(
    source: DatabaseServer, target: DatabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(target.conninfo) as found:
        found.execute("CREATE TABLE kept (id integer)")
    monkeypatch.setattr("validibot.setup.moving.database._schemas_of_extensions", lambda found: {})

    with pytest.raises(
        MoveError,
        match=r'psql failed: psql:.*copy\.sql:\d+: ERROR:  schema "heroku_ext" does not exist',
    ):
        move_database(source, target)

    with psycopg.connect(target.conninfo) as found:
        assert found.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_source_facts_name_version_and_maintenance(source: DatabaseServer) -> None:
    facts = source_facts(source)

    assert facts.version >= 17
    assert "runs.0001_initial" in facts.migrations
    assert (facts.is_closed, facts.left_out) == (False, [])


@pytest.mark.parametrize(
    ("conninfo", "message"),
    [
        ("postgres://nobody@127.0.0.1:1/x", "The source database cannot be read: connection"),
        ("this is no address", "The address of the source database cannot be read"),
    ],
)
def test_address_that_leads_to_no_database_is_refused(conninfo: str, message: str) -> None:
    with pytest.raises(MoveError, match=message):
        source_facts(DatabaseServer(conninfo, "source"))


def test_database_of_another_program_is_refused(target: DatabaseServer) -> None:
    with pytest.raises(MoveError, match="no tables of Validibot"):
        source_facts(DatabaseServer(target.conninfo, "source"))


@pytest.mark.usefixtures("_programs")
@pytest.mark.parametrize(
    ("version", "message"),
    [(12, "pg_dump is of version 12 and the source of"), (99, "must be 99 or newer")],
)
def test_versions_that_do_not_fit_are_refused(
    version: int,
    message: str,
    source: DatabaseServer,
    target: DatabaseServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("validibot.setup.moving.database.major_version", lambda program: version)
    if version == 99:
        versions = iter([99, 99, 18, 18])
        monkeypatch.setattr(
            "validibot.setup.moving.database._version", lambda found: next(versions)
        )

    with pytest.raises(MoveError, match=message):
        move_database(source, target)


def test_open_source_is_refused_without_rehearsal(
    source: DatabaseServer, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    monkeypatch.setattr("sys.stdin", Mock(isatty=lambda: False, read=lambda: source.conninfo))

    with pytest.raises(CommandError, match="The old installation is open"):
        call_command("move", "database", stderr=io.StringIO())


def test_used_database_is_not_replaced_without_option(
    source: DatabaseServer, monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    monkeypatch.setattr("sys.stdin", Mock(isatty=lambda: False, read=lambda: source.conninfo))

    with pytest.raises(
        CommandError, match="Use an empty database, or delete its content with --replace"
    ):
        call_command("move", "database", "--rehearsal", stderr=io.StringIO())


def test_fingerprints_name_each_difference() -> None:
    one = TableFingerprint(2, "1")
    source = DatabaseFingerprint({"a": one, "b": one, "c": one, "d": one}, {"s": 5, "t": 5})
    copy = DatabaseFingerprint(
        {"a": one, "b": TableFingerprint(1, "1"), "c": TableFingerprint(2, "2"), "e": one},
        {"s": 4, "t": 6},
    )

    assert source.differences(copy) == [
        "Table b has 2 rows, and the copy 1.",
        "The rows of table c differ from those of the copy.",
        "Table d is only in the source.",
        "Table e is only in the copy.",
        "Sequence s is at 5, and in the copy at 4.",
    ]
