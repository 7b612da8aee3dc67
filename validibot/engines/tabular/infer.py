"""Settings of a Tabular step, inferred from a sample."""

from pathlib import Path
from typing import Any

import duckdb

from validibot.engines.tabular.columns import typed
from validibot.engines.tabular.config import ColumnType, TableColumn, TabularConfig
from validibot.engines.tabular.load import load_table, open_database

# The first type that all cells of a column have is its type.
_CANDIDATES = (
    (ColumnType.BOOLEAN, "default"),
    (ColumnType.INTEGER, "default"),
    (ColumnType.NUMBER, "default"),
    (ColumnType.DATE, "default"),
    (ColumnType.DATETIME, "default"),
    (ColumnType.TIME, "default"),
    (ColumnType.DATE, "%d.%m.%Y"),
    (ColumnType.DATE, "%d/%m/%Y"),
)
_MAX_ENUM = 12
# So many rows must there be for each allowed value, or it may be chance.
_ROWS_PER_VALUE = 3
# Leading zeros are part of a name, as in article numbers.
_LEADING_ZERO = r"[+-]?0\d+"


def infer(folder: Path, filename: str) -> dict[str, Any]:
    """Return settings that the sample `document` in a folder satisfies. Raises BadDocument."""
    with open_database(folder) as database:
        facts = load_table(database, "data", folder / "document", filename, TabularConfig())
        columns = [
            _column(database, name, f"c{number}", facts.rows)
            for number, name in enumerate(facts.names)
        ]
        keys = [each["name"] for each in columns if each.get("unique") and each.get("required")]
    settings: dict[str, Any] = {"columns": columns, "primary_key": keys[:1]}
    if facts.encoding and facts.encoding not in ("utf-8", "utf-8-sig"):
        settings["encoding"] = facts.encoding
    if facts.delimiter and facts.delimiter not in (",", "\t"):
        settings["delimiter"] = facts.delimiter
    return settings


def _column(database: duckdb.DuckDBPyConnection, name: str, cell: str, rows: int) -> dict[str, Any]:
    has_zero = f"regexp_full_match({cell}, '{_LEADING_ZERO}')"
    counts = f"count({cell}), count(DISTINCT {cell}), count(*) FILTER ({has_zero})"
    present, distinct, zeros = _row(database, f"SELECT {counts} FROM data")  # noqa: S608
    column: dict[str, Any] = {"name": name}
    if not present:
        return column | {"type": "any"}
    kind, form = (ColumnType.STRING, "default") if zeros else _type(database, cell)
    column["type"] = kind.value
    if form != "default":
        column["format"] = form
    if present == rows:
        column["required"] = True
    is_name = kind in (ColumnType.STRING, ColumnType.INTEGER)
    if is_name and distinct == present == rows and rows > 1:
        column["unique"] = True
    elif kind is ColumnType.STRING and distinct <= min(_MAX_ENUM, present // _ROWS_PER_VALUE):
        found = database.execute(
            f"SELECT DISTINCT {cell} FROM data WHERE {cell} IS NOT NULL ORDER BY 1"  # noqa: S608
        ).fetchall()
        column["enum"] = [value for (value,) in found]
    return column


def _type(database: duckdb.DuckDBPyConnection, cell: str) -> tuple[ColumnType, str]:
    for kind, form in _CANDIDATES:
        column = TableColumn(name="x", type=kind, format=form)
        if kind is ColumnType.BOOLEAN:  # 0 and 1 are rather numbers
            column = column.model_copy(
                update={
                    "true_values": ["true", "True", "TRUE"],
                    "false_values": ["false", "False", "FALSE"],
                }
            )
        (wrong,) = _row(
            database,
            f"SELECT count(*) FROM data WHERE {cell} IS NOT NULL AND ({typed(column, cell)}) IS NULL",  # noqa: S608
        )
        if not wrong:
            return kind, form
    return ColumnType.STRING, "default"


def _row(database: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    found = database.execute(query).fetchone()
    assert found is not None
    return tuple(found)
