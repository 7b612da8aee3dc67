"""Checks of a loaded table: columns, keys and references, each rule with count and examples."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import duckdb

from validibot.core.echo import echo
from validibot.engines.problems import MAX_PROBLEMS, DocumentProblem
from validibot.engines.tabular.columns import ColumnRule, rules_of, typed
from validibot.engines.tabular.config import (
    ExtraColumns,
    TableColumn,
    TableReference,
    TabularConfig,
    TabularSeverity,
)
from validibot.engines.tabular.read import MAX_EXAMPLES, TableFacts

_SHOWN = 80
_NUMBER = re.compile(r"[+-]?\d{1,40}(?:\.\d{1,40})?")


@dataclass(frozen=True, slots=True)
class RuleResult:
    """The result of a rule that is broken: the true count, and the first places."""

    code: str
    column: str
    severity: str
    count: int
    examples: Sequence[DocumentProblem]

    def problems(self) -> Iterator[DocumentProblem]:
        """Yield the examples, and the count if there are more."""
        yield from self.examples
        if self.count > len(self.examples):
            message = (
                f"`{self.column}` breaks the rule {self.code} in {self.count:,} rows; the first"
                f" {len(self.examples):,} are listed."
            )
            yield DocumentProblem(message, "INFO", "table.more", self.column)


def shown(value: Any) -> str:
    """Return a cell for a message: in quotation marks unless it is a number."""
    text = str(value)
    if _NUMBER.fullmatch(text):
        return text
    return repr(text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…")


class TableChecks:
    """The checks of one table in its database."""

    def __init__(
        self, database: duckdb.DuckDBPyConnection, facts: TableFacts, config: TabularConfig
    ) -> None:
        self.database = database
        self.facts = facts
        self.config = config
        self.room = MAX_PROBLEMS
        self.cells = {name: f"c{number}" for number, name in enumerate(facts.names)}

    @property
    def limit(self) -> int:
        """How many violations of the next rule are listed."""
        return max(MAX_EXAMPLES, self.room)

    def header(self) -> Iterator[RuleResult]:
        """Yield the missing and the unknown columns."""
        known = [column.name for column in self.config.columns]
        wanted = dict.fromkeys([*known, *self.config.primary_key])
        for reference in self.config.foreign_keys:
            wanted |= dict.fromkeys(reference.columns)
        extra = [name for name in self.facts.names if name not in wanted]
        for name in wanted:
            if name not in self.cells:
                near = get_close_matches(name, extra, n=1)
                hint = f"; did you mean {echo(near[0])}?" if near else ""
                listed = ", ".join(self.facts.names[:20])
                message = f"The table has no column {echo(name)}{hint} Its columns are: {listed}."
                message = message.replace(f"{echo(name)} Its", f"{echo(name)}. Its")
                yield self.about_header("column_missing", name, message, "ERROR")
        if known and self.config.extra_columns != ExtraColumns.IGNORE:
            for name in extra[: MAX_EXAMPLES * 2]:
                message = f"The column {echo(name)} is not in the schema."
                severity = self.config.extra_columns.value.upper()
                yield self.about_header("column_extra", name, message, severity)

    def about_header(self, code: str, name: str, message: str, severity: str) -> RuleResult:
        line = self.facts.header_rows if self.facts.format in ("csv", "tsv") else None
        problem = DocumentProblem(message, severity, f"table.{code}", name, line or None)
        return RuleResult(code, name, severity, 1, [problem])

    def columns(self) -> Iterator[RuleResult]:
        """Yield the broken rules of each column."""
        for column in self.config.columns:
            if column.name in self.cells:
                rules = list(rules_of(column, is_key=column.name in self.config.primary_key))
                if rules:
                    yield from self.column(column, rules)
                if column.unique and self.config.primary_key != [column.name]:
                    yield from self.unique([column.name], "unique", column.severity)

    def column(self, column: TableColumn, rules: Sequence[ColumnRule]) -> Iterator[RuleResult]:
        cell = self.cells[column.name]
        wrong = [
            rule.wrong if rule.about_missing else f"raw IS NOT NULL AND ({rule.wrong})"
            for rule in rules
        ]
        parts = ", ".join(
            f"count(*) FILTER ({each}), min(n, {self.limit}) FILTER ({each})" for each in wrong
        )
        value = typed(column, cell)
        inner = f"SELECT rowid AS n, {cell} AS raw, {value} AS value FROM data"  # noqa: S608
        found = self.database.execute(f"SELECT {parts} FROM ({inner})").fetchone()  # noqa: S608
        assert found is not None
        for number, rule in enumerate(rules):
            count, rows = found[2 * number], found[2 * number + 1]
            if count:
                values = self.values(cell, rows)
                examples = [
                    self.problem(
                        row, column.name, values[row], rule.must, rule.code, column.severity
                    )
                    for row in rows
                ]
                yield RuleResult(rule.code, column.name, column.severity, count, examples)

    def values(self, cell: str, rows: Sequence[int]) -> Mapping[int, Any]:
        """Return the cells of some rows, shortened."""
        query = (
            f"SELECT rowid, {cell}[:{_SHOWN + 1}] FROM data"  # noqa: S608
            " WHERE rowid IN (SELECT unnest(?::BIGINT[]))"
        )
        return dict(self.database.execute(query, [list(rows)]).fetchall())

    def problem(
        self, row: int, name: str, value: Any, must: str, code: str, severity: str
    ) -> DocumentProblem:
        what = "is missing" if value is None else f"is {shown(value)}"
        message = f"row {row + 1}, `{name}` {what}; it must {must}."
        line = self.facts.line(row)
        return DocumentProblem(message, str(severity), f"table.{code}", f"/{row + 1}/{name}", line)

    def primary_key(self) -> Iterator[RuleResult]:
        """Yield the rows without a primary key of their own."""
        key = self.config.primary_key
        if not key or not all(name in self.cells for name in key):
            return
        known = {column.name for column in self.config.columns}
        for name in key:
            if name not in known:
                yield from self.column(
                    TableColumn(name=name), [*rules_of(TableColumn(name=name), is_key=True)]
                )
        yield from self.unique(key, "primaryKey", TabularSeverity.ERROR)

    def unique(self, names: Sequence[str], code: str, severity: str) -> Iterator[RuleResult]:
        cells = ", ".join(self.cells[name] for name in names)
        present = " AND ".join(f"{self.cells[name]} IS NOT NULL" for name in names)
        # Hashes first: they need less memory than texts, and few tables have duplicates.
        database = self.database
        database.execute(
            f"CREATE OR REPLACE TEMP TABLE suspects AS SELECT hash({cells}) AS h FROM data"  # noqa: S608
            f" WHERE {present} GROUP BY h HAVING count(*) > 1"
        )
        if not _count(database, "SELECT count(*) FROM suspects"):
            return
        database.execute(
            f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT rowid AS n, {cells},"  # noqa: S608
            f" min(rowid) OVER (PARTITION BY {cells}) AS first FROM data"
            f" WHERE {present} AND hash({cells}) IN (SELECT h FROM suspects)"
        )
        count = _count(database, "SELECT count(*) FROM repeated WHERE n <> first")
        if not count:
            return
        rows = database.execute(
            f"SELECT n, first, {cells} FROM repeated WHERE n <> first ORDER BY n LIMIT {self.limit}"  # noqa: S608
        ).fetchall()
        label = ", ".join(names)
        examples = []
        for row, first, *values in rows:
            what = ", ".join(shown(value) for value in values)
            message = f"row {row + 1}, `{label}` is {what}; it must be unique, and row {first + 1} has the same."
            path = f"/{row + 1}/{names[0]}"
            line = self.facts.line(row)
            examples.append(DocumentProblem(message, str(severity), f"table.{code}", path, line))
        yield RuleResult(code, label, str(severity), count, examples)

    def references(self, tables: Mapping[str, tuple[str, TableFacts]]) -> Iterator[RuleResult]:
        """Yield the rows whose foreign keys are not in the other table; `tables` has them by file."""
        for reference in self.config.foreign_keys:
            table, facts = tables[reference.file]
            others = {name: f"c{number}" for number, name in enumerate(facts.names)}
            absent = [name for name in reference.reference_columns if name not in others]
            if absent:
                listed = ", ".join(facts.names[:20])
                message = (
                    f"{reference.file or 'The table'} has no column {echo(absent[0])}, to which `"
                    f"{', '.join(reference.columns)}` refers. Its columns are: {listed}."
                )
                yield self.about_header("reference", absent[0], message, "ERROR")
            elif all(name in self.cells for name in reference.columns):
                yield from self.reference(reference, table, others)

    def reference(
        self, reference: TableReference, table: str, others: Mapping[str, str]
    ) -> Iterator[RuleResult]:
        mine = [self.cells[name] for name in reference.columns]
        theirs = [others[name] for name in reference.reference_columns]
        same = " AND ".join(f"data.{a} = other.{b}" for a, b in zip(mine, theirs, strict=True))
        present = " AND ".join(f"data.{cell} IS NOT NULL" for cell in mine)
        wrong = f"FROM data ANTI JOIN {table} other ON {same} WHERE {present}"
        if not (count := _count(self.database, f"SELECT count(*) {wrong}")):
            return
        cells = ", ".join(f"data.{cell}" for cell in mine)
        rows = self.database.execute(
            f"SELECT data.rowid, {cells} {wrong} ORDER BY data.rowid LIMIT {self.limit}"
        ).fetchall()
        label = ", ".join(reference.columns)
        where = f"`{', '.join(reference.reference_columns)}` of {reference.file or 'the table'}"
        examples = []
        for row, *values in rows:
            what = ", ".join(shown(value) for value in values)
            message = f"row {row + 1}, `{label}` is {what}; it must be a value of {where}."
            path = f"/{row + 1}/{reference.columns[0]}"
            line = self.facts.line(row)
            examples.append(DocumentProblem(message, "ERROR", "table.foreignKey", path, line))
        yield RuleResult("foreignKey", label, "ERROR", count, examples)


def _count(database: duckdb.DuckDBPyConnection, query: str) -> int:
    found = database.execute(query).fetchone()
    return int(found[0]) if found else 0
