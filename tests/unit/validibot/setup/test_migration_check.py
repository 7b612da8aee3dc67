"""The check of migrations: unsafe SQL, and a release that it stops."""

import pytest
from django.contrib.postgres.operations import NotInTransactionMixin
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations import AddIndex, Migration, RunPython, RunSQL, SeparateDatabaseAndState
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Index
from django_migration_linter import IgnoreMigration

from validibot.setup.migration_check import (
    MigrationRefused,
    check_migrations,
    data_problems,
    sql_problems,
)

CREATE = 'CREATE TABLE "new" ("id" bigint PRIMARY KEY);'


@pytest.mark.parametrize(
    ("statements", "problems"),
    [
        (['ALTER TABLE "run" DROP COLUMN "old";'], ["Do it: DROPPING columns (run.old)"]),
        (['DROP TABLE "run" CASCADE;'], ["Do it: DROPPING table (run)"]),
        (['CREATE INDEX "i" ON "run" ("id");'], ["Do it: CREATE INDEX locks table"]),
        (['CREATE INDEX "i"\n ON "run"\n USING gin (id);'], ["Do it: CREATE INDEX locks table"]),
        (['CREATE INDEX CONCURRENTLY "i" ON "run" ("id");'], []),
        (['ALTER TABLE "run" ADD COLUMN "a" integer NULL;'], []),
        (
            ['ALTER TABLE "run" ADD COLUMN "a" integer NOT NULL;'],
            ["Do it: NOT NULL constraint on columns"],
        ),
    ],
)
def test_unsafe_statement_is_named_with_its_operation(
    statements: list[str], problems: list[str]
) -> None:
    assert list(sql_problems(["--", "-- Do it", "--", *statements])) == problems


def test_index_of_a_new_table_is_safe() -> None:
    index = 'CREATE INDEX "i" ON "new" ("id");'
    other = 'CREATE INDEX "j" ON "run" ("id");'
    sql = ["-- Create", CREATE, "-- Index", index, "-- Further index", other]

    assert list(sql_problems(sql)) == ["Further index: CREATE INDEX locks table"]


@pytest.fixture
def new_migration(db: None, monkeypatch: pytest.MonkeyPatch) -> Migration:
    """A migration that adds an index, as the only one that the database does not have."""
    loader = MigrationExecutor(connection).loader
    found: Migration = loader.get_migration("runs", "0018_retry")
    index = AddIndex("run", Index(fields=["error"], name="runs_by_error"))
    monkeypatch.setattr(found, "operations", [index])
    plan = [(found, False)]
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda self, targets: plan)
    return found


@pytest.mark.usefixtures("new_migration")
def test_unsafe_migration_is_refused_with_file_and_operation() -> None:
    with pytest.raises(CommandError) as refused:
        call_command("migrate_checked")

    assert (
        "  validibot/runs/migrations/0018_retry.py: Create index runs_by_error on field(s) error of "
        "model run: CREATE INDEX locks table\n"
    ) in str(refused.value)
    assert "add the operation IgnoreMigration()" in str(refused.value)


def test_exception_in_the_migration_lets_it_pass(
    new_migration: Migration, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = [*new_migration.operations, IgnoreMigration()]
    monkeypatch.setattr(new_migration, "operations", operations)

    check_migrations()


def test_exception_of_locks_lets_no_change_of_rows_pass(
    new_migration: Migration, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = [RunPython(RunPython.noop), IgnoreMigration()]
    monkeypatch.setattr(new_migration, "operations", operations)

    with pytest.raises(MigrationRefused, match="rows_may_change"):
        check_migrations()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "operation",
    [
        RunPython(RunPython.noop),
        RunSQL("UPDATE webhooks_webhook SET style = 'text'"),
        RunSQL([("DELETE FROM webhooks_webhook WHERE style = %s", ["text"])]),
        SeparateDatabaseAndState(database_operations=[RunPython(RunPython.noop)]),
    ],
)
def test_change_of_rows_is_refused_unless_old_code_reads_them(
    operation: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    migration = Migration("0099_rows", "webhooks")
    monkeypatch.setattr(migration, "operations", [operation])

    assert "changes rows that the version before reads" in next(data_problems(migration))
    monkeypatch.setattr(migration, "rows_may_change", "It has both names.", raising=False)
    assert list(data_problems(migration)) == []


def test_first_migration_of_a_database_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MigrationRecorder, "applied_migrations", lambda self: {})
    monkeypatch.setattr(MigrationExecutor, "migration_plan", None)

    check_migrations()


@pytest.mark.django_db
def test_migrations_after_the_first_of_each_app_are_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = MigrationExecutor(connection).loader.graph
    found = [graph.nodes[key] for key in sorted(graph.nodes)]
    later = [(each, False) for each in found if not (each.initial or each.replaces)]
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda self, targets: later)
    # Nothing is executed, so the test may be in a transaction.
    monkeypatch.setattr(NotInTransactionMixin, "_ensure_not_in_transaction", lambda *_: None)

    check_migrations()
