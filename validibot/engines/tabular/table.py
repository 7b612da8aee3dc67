"""The check of one table: load it and its references, then apply rule by rule."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from validibot.engines.problems import DocumentProblem
from validibot.engines.tabular.checks import RuleResult, TableChecks
from validibot.engines.tabular.config import TabularConfig
from validibot.engines.tabular.load import load_table, open_database
from validibot.engines.tabular.read import TableFacts
from validibot.engines.tabular.rows import check_rows


def check_table(
    header: Mapping[str, Any], config: TabularConfig, outputs: dict[str, Any]
) -> Iterator[DocumentProblem]:
    """Yield the problems of a table, and fill `outputs`.

    Raises BadDocument, and MemoryError if the table is too large for the database.
    """
    try:
        with open_database(Path(header["folder"])) as database:
            yield from _check(database, header, config, outputs)
    except duckdb.OutOfMemoryException as error:
        raise MemoryError from error


def _check(
    database: duckdb.DuckDBPyConnection,
    header: Mapping[str, Any],
    config: TabularConfig,
    outputs: dict[str, Any],
) -> Iterator[DocumentProblem]:
    source = Path(header["folder"]) / "document"
    facts = load_table(database, "data", source, header["filename"], config)
    outputs |= _outputs(facts)
    yield from _about_form(facts, config)
    tables = {"": ("data", facts)}
    for number, (file, (path, name)) in enumerate(header["references"].items()):
        table = f"reference{number}"
        own = TabularConfig.model_validate({"missing_values": config.missing_values})
        tables[file] = (table, load_table(database, table, Path(path), name, own))
    checks = TableChecks(database, facts, config)
    for result in _results(checks, tables, header["names"]):
        outputs["failed_rule_count"] += 1
        outputs["violation_count"] += result.count
        checks.room -= len(result.examples)
        yield from result.problems()


def _results(
    checks: TableChecks, tables: Mapping[str, tuple[str, TableFacts]], names: Mapping[str, Any]
) -> Iterator[RuleResult]:
    yield from checks.header()
    yield from checks.columns()
    yield from checks.primary_key()
    yield from checks.references(tables)
    yield from check_rows(checks.database, checks.facts, checks.config, names, limit=checks.limit)


def _outputs(facts: TableFacts) -> dict[str, Any]:
    return {
        "format": facts.format,
        "row_count": facts.rows,
        "column_count": len(facts.names),
        "failed_rule_count": 0,
        "violation_count": 0,
        "encoding": facts.encoding,
        "delimiter": facts.delimiter,
        "sheet": facts.sheet,
    }


def _about_form(facts: TableFacts, config: TabularConfig) -> Iterator[DocumentProblem]:
    """Yield the faults of the rows, and a note on what was detected."""
    yield from facts.problems
    if facts.ragged > len(facts.problems):
        message = f"{facts.ragged:,} rows have another number of cells than the header."
        yield DocumentProblem(message, "INFO", "table.more")
    if facts.format in ("csv", "tsv") and not (config.encoding and config.delimiter):
        delimiter = {"\t": "a tab", " ": "a space"}.get(facts.delimiter, f"`{facts.delimiter}`")
        message = (
            f"Read as {facts.encoding} with {delimiter} between cells: {len(facts.names):,} columns,"
            f" {facts.rows:,} rows."
        )
        yield DocumentProblem(message, "INFO", "table.detected")
