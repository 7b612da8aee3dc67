"""Check of the migrations that a release is about to apply: none may lock a table or remove what is used.

During a rollout the old version serves while the new one migrates, and after a rollback it serves again.
So a migration must leave room for the version before it, and must not hold a lock for long. The
database is asked which migrations are new: no list of released ones has to be kept.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations import RunPython, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django_migration_linter import IgnoreMigration
from django_migration_linter.sql_analyser.analyser import analyse_sql_statements
from django_migration_linter.sql_analyser.postgresql import PostgresqlAnalyser

_CHANGES_ROWS = re.compile(r"^\s*(UPDATE|DELETE FROM|TRUNCATE)\b", re.IGNORECASE | re.MULTILINE)


class MigrationRefused(Exception):
    """Migrations would lock or remove; the message names file, operation and next step."""


def check_migrations() -> None:
    """Raise MigrationRefused if a migration that is not applied yet is unsafe.

    Nothing is in use in a database without migrations, so all of them are safe there.
    """
    executor = MigrationExecutor(connection)
    if not executor.loader.applied_migrations:
        return
    steps = executor.migration_plan(executor.loader.graph.leaf_nodes())
    problems = []
    for migration, _ in steps:
        if not migration.__module__.startswith("validibot."):
            continue
        problems += [f"{_file_of(migration)}: {each}" for each in data_problems(migration)]
        if not any(isinstance(each, IgnoreMigration) for each in migration.operations):
            sql = executor.loader.collect_sql([(migration, False)])
            problems += [f"{_file_of(migration)}: {each}" for each in sql_problems(sql)]
    if problems:
        raise MigrationRefused(
            "Migrations refused; nothing was migrated.\n  "
            + "\n  ".join(problems)
            + "\nSplit the change over two releases, or build the index with AddIndexConcurrently and "
            "`atomic = False`. If it is safe all the same, add the operation IgnoreMigration() of "
            "django_migration_linter to the migration, with a comment that says why."
        )


def data_problems(migration: Migration) -> Iterator[str]:
    """Yield each operation that changes rows, unless the migration says when that does no harm.

    The version before serves while these rows change, and after a rollback: a renamed value means nothing
    to it, or something else. `rows_may_change` of the migration is that sentence.
    """
    if getattr(migration, "rows_may_change", ""):
        return
    for operation in _database_operations(migration.operations):
        if isinstance(operation, RunPython) or _CHANGES_ROWS.search(_sql_of(operation)):
            yield (
                f"{operation.describe()}: changes rows that the version before reads. Write the new form in a "
                "later release than the code that reads both, or say in `rows_may_change` of the migration "
                "when that does no harm"
            )


def _database_operations(operations: Iterable[Operation]) -> Iterator[Operation]:
    """Yield the operations that reach the database, also those that are kept apart from the state."""
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _database_operations(operation.database_operations)
        else:
            yield operation


def _sql_of(operation: Operation) -> str:
    """Return the statements of RunSQL, which may be a list, with parameters beside them."""
    sql = getattr(operation, "sql", "")
    if isinstance(sql, str):
        return sql
    return "\n".join(str(each[0] if isinstance(each, list | tuple) else each) for each in sql)


def sql_problems(sql: Sequence[str]) -> Iterator[str]:
    """Yield `operation: what is unsafe about it` for the SQL of a migration.

    `sql` is what Django's MigrationLoader.collect_sql returns: statements, and three lines of comment
    before those of each operation. A lock of a table that the migration creates hurts nobody.
    """
    operation = "the migration"
    statements: list[str] = []
    created: list[str] = []
    for line in (*sql, "-- end"):
        text = " ".join(line.split())
        if not text.startswith("--"):
            statements.append(text)
        elif description := text.removeprefix("--").strip():
            yield from (f"{operation}: {each}" for each in _issues(created, statements))
            created += [each for each in statements if each.startswith("CREATE TABLE")]
            operation, statements = description, []


def _issues(created: list[str], statements: list[str]) -> Iterator[str]:
    """Yield what is unsafe about the statements of one operation; warnings are about locks."""
    errors, _, warnings = analyse_sql_statements(PostgresqlAnalyser, [*created, *statements])
    for issue in (*errors, *warnings):
        name = ".".join(each for each in (issue.table, issue.column) if each)
        yield f"{issue.message}{f' ({name})' if name else ''}"


def _file_of(migration: Migration) -> str:
    return f"{migration.__module__.replace('.', '/')}.py"
