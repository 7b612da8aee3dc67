"""Row rules: expressions in CEL about one row at a time, in one pass over the table.

Only the columns that expressions name are read. A cell is null if it is empty or does not fit the
type of its column, which has a finding of its own.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb

from validibot.core.echo import echo
from validibot.engines.assertions import fill_message
from validibot.engines.cel import RowScope, Value
from validibot.engines.problems import DocumentProblem
from validibot.engines.tabular.checks import RuleResult
from validibot.engines.tabular.columns import typed
from validibot.engines.tabular.config import ColumnType, RowRule, TableColumn, TabularConfig
from validibot.engines.tabular.read import MAX_EXAMPLES, TableFacts

_BATCH = 5000
_NAMED = re.compile(r"\brow\.\??(\w+)|\brow\[\??\s*(?:'([^'\\]*)'|\"([^\"\\]*)\")\s*\]")
_ROW = re.compile(r"\brow\b")


def check_rows(
    database: duckdb.DuckDBPyConnection,
    facts: TableFacts,
    config: TabularConfig,
    names: Mapping[str, Any],
    *,
    limit: int,
) -> Iterator[RuleResult]:
    """Yield the broken row rules; `names` are the values of the other names in scope.

    Of all rules together `limit` violations are listed, of each one MAX_EXAMPLES in any case.
    """
    rules = []
    for rule in config.row_rules:
        unknown = [name for name in _named(rule) if name not in facts.names]
        if unknown:
            yield _about_unknown(rule, unknown[0])
        else:
            rules.append(rule)
    if rules:
        found = [_Found(rule) for rule in rules]
        yield from _scan(database, facts, config, found, RowScope(names), limit)


def _scan(
    database: duckdb.DuckDBPyConnection,
    facts: TableFacts,
    config: TabularConfig,
    found: Sequence["_Found"],
    scope: RowScope,
    limit: int,
) -> Iterator[RuleResult]:
    """Evaluate the rules on every row, in batches."""
    columns = _columns([each.rule for each in found], facts)
    types = {column.name: column for column in config.columns}
    cells = [_cell(types.get(name), f"c{facts.names.index(name)}") for name in columns]
    selected = ", ".join(["rowid", *cells])
    result = database.execute(f"SELECT {selected} FROM data ORDER BY rowid")  # noqa: S608
    while batch := result.fetchmany(_BATCH):
        for number, *values in batch:
            scope.row = dict(zip(columns, values, strict=True))
            for each in found:
                limit -= each.look(scope, number, facts, has_room=limit > 0)
    for each in found:
        if each.count:
            title = each.rule.expression[:100]
            severity = each.rule.severity.value
            yield RuleResult("row", title, severity, each.count, each.examples)


@dataclass(slots=True)
class _Found:
    """The rows that break a rule."""

    rule: RowRule
    count: int = 0
    examples: list[DocumentProblem] = field(default_factory=list)

    def look(self, scope: RowScope, number: int, facts: TableFacts, *, has_room: bool) -> bool:
        """Evaluate the rule on a row; return whether a violation was added to the examples."""
        reason = _broken(self.rule, scope)
        if reason is None:
            return False
        self.count += 1
        if not has_room and len(self.examples) >= MAX_EXAMPLES:
            return False
        self.examples.append(_problem(self.rule, scope, number, reason, facts))
        return True


def _named(rule: RowRule) -> list[str]:
    """Return the columns that the expressions of a rule name."""
    texts = (rule.expression, rule.when, rule.message)
    return [name for text in texts for names in _NAMED.findall(text) for name in names if name]


def _columns(rules: Sequence[RowRule], facts: TableFacts) -> list[str]:
    """Return the columns that the expressions use; all, if `row` is used as a whole."""
    used: set[str] = set()
    for rule in rules:
        named = _named(rule)
        if len(named) < len(_ROW.findall(f"{rule.expression} {rule.when} {rule.message}")):
            return facts.names
        used |= set(named)
    return [name for name in facts.names if name in used]


def _about_unknown(rule: RowRule, name: str) -> RuleResult:
    message = f"The row rule {rule.expression} uses the column {echo(name)}, which the table does not have."
    problem = DocumentProblem(message, rule.severity.value, "table.row_error", name)
    return RuleResult("row", rule.expression[:100], rule.severity.value, 1, [problem])


def _cell(column: TableColumn | None, raw: str) -> str:
    """Return the SQL for the value of a cell in expressions."""
    match column.type if column else None:
        case ColumnType.INTEGER:
            return f"TRY_CAST({typed(column, raw)} AS BIGINT)" if column else raw
        case ColumnType.NUMBER | ColumnType.BOOLEAN:
            return typed(column, raw) if column else raw
    return raw


def _broken(rule: RowRule, scope: RowScope) -> str | None:
    """Return None if a rule holds for the row or does not apply, else "" or why it has no value."""
    if rule.when:
        applies = scope.evaluate(rule.when)
        if applies.plain is not True:
            return None if applies.plain is False else _no_condition(applies)
    holds = scope.evaluate(rule.expression)
    if holds.plain is True:
        return None
    return "" if holds.plain is False else _no_condition(holds)


def _no_condition(value: Value) -> str:
    return value.error or f"it gives {value.kind}, not true or false"


def _problem(
    rule: RowRule, scope: RowScope, number: int, reason: str, facts: TableFacts
) -> DocumentProblem:
    where = f"row {number + 1}"
    if reason:
        message = f"{where}: could not evaluate {rule.expression}: {reason}."
    elif rule.message:
        message = f"{where}: {fill_message(rule.message, scope)}"
    else:
        values = ", ".join(
            f"{name} is {echo(value)}" for name, value in list(scope.row.items())[:8]
        )
        message = f"{where}: this must be true: {rule.expression} ({values})."
    code = "table.row_error" if reason else "table.row"
    line = facts.line(number)
    return DocumentProblem(message, rule.severity.value, code, f"/{number + 1}", line)
