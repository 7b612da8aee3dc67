"""Tables in the database of a check: every cell as text, so that findings show what was sent.

DuckDB is used because it checks columns of millions of rows vectorised, keeps tables on disk when
they do not fit into its memory limit, and reads Parquet; the FMU validator has it already.
"""

from pathlib import Path
from typing import Any

import duckdb

from validibot.engines.tabular.config import TabularConfig
from validibot.engines.tabular.read import (
    MAX_COLUMNS,
    MAX_ROW,
    MAX_ROWS,
    TableFacts,
    copy_table,
    kind_of,
    refuse,
)

# Megabytes, and more for each column: the database has a block of every column in memory.
MEMORY = 160
MEMORY_PER_COLUMN = 0.6
_SETTINGS = {
    "memory_limit": f"{MEMORY}MB",
    "threads": "2",
    "max_temp_directory_size": "2GB",
    "preserve_insertion_order": "true",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


def quoted(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def open_database(folder: Path) -> duckdb.DuckDBPyConnection:
    """Open an empty database in a folder."""
    settings: dict[str, Any] = {**_SETTINGS, "temp_directory": str(folder / "spill")}
    database = duckdb.connect(str(folder / "tables.duckdb"), config=settings)
    database.execute("SET TimeZone = 'UTC'")
    return database


def load_table(
    database: duckdb.DuckDBPyConnection,
    table: str,
    source: Path,
    filename: str,
    config: TabularConfig,
) -> TableFacts:
    """Load a file as a table with the columns c0, c1, …; return its facts. Raises BadDocument."""
    kind = kind_of(source, filename)
    if kind == "parquet":
        return _load_parquet(database, table, source, config)
    target = source.with_name(f"{source.name}.csv")
    facts = copy_table(source, target, kind, config)
    _make_room(database, facts)
    missing = ", ".join(map(quoted, ["", *config.missing_values]))
    types = ", ".join(f"'c{number}': 'VARCHAR'" for number in range(len(facts.names)))
    cells = ", ".join(
        f"CASE WHEN c{number} IN ({missing}) THEN NULL ELSE c{number} END AS c{number}"
        for number in range(len(facts.names))
    )
    database.execute(
        f"CREATE TABLE {table} AS SELECT {cells} FROM read_csv({quoted(str(target))},"  # noqa: S608
        f" columns = {{{types}}}, header = false, delim = ',', quote = '\"', escape = '\"',"
        f" new_line = '\\n', auto_detect = false, max_line_size = {4 * MAX_ROW})"
    )
    target.unlink()
    return facts


def _make_room(database: duckdb.DuckDBPyConnection, facts: TableFacts) -> None:
    megabytes = int(MEMORY + MEMORY_PER_COLUMN * len(facts.names))
    database.execute(f"SET memory_limit = '{megabytes}MB'")


def _load_parquet(
    database: duckdb.DuckDBPyConnection, table: str, source: Path, config: TabularConfig
) -> TableFacts:
    path = quoted(str(source))
    facts = TableFacts("parquet", header_rows=0)
    try:
        described = database.execute(f"DESCRIBE SELECT * FROM read_parquet({path})").fetchall()  # noqa: S608
        counted = database.execute(
            f"SELECT sum(num_rows) FROM parquet_file_metadata({path})"  # noqa: S608
        ).fetchone()
        facts.names = [str(name) for name, *_ in described]
        facts.rows = int(counted[0]) if counted else 0
        if len(facts.names) > MAX_COLUMNS or facts.rows > MAX_ROWS:
            message = (
                f"The table has {facts.rows:,} rows and {len(facts.names):,} columns; at most"
                f" {MAX_ROWS:,} and {MAX_COLUMNS:,} are read."
            )
            raise refuse(message, "table.too_many_rows")
        _make_room(database, facts)
        missing = ", ".join(map(quoted, ["", *config.missing_values]))
        cells = ", ".join(
            f"nullif({_text_of(name, kind)}, '') AS c{number}"
            if not config.missing_values
            else f"CASE WHEN {_text_of(name, kind)} IN ({missing}) THEN NULL"
            f" ELSE {_text_of(name, kind)} END AS c{number}"
            for number, (name, kind, *_) in enumerate(described)
        )
        database.execute(f"CREATE TABLE {table} AS SELECT {cells} FROM read_parquet({path})")  # noqa: S608
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        reason = str(error).splitlines()[0].replace(str(source), "the file")
        raise refuse(f"The Parquet file cannot be read: {reason}", "table.parquet") from None
    return facts


def _text_of(name: str, kind: str) -> str:
    """Return the SQL for a column as text: times as in ISO 8601, as text files have them."""
    column = '"' + name.replace('"', '""') + '"'
    if kind.startswith("TIMESTAMP"):
        zone = "Z" if "TIME ZONE" in kind else ""
        return f"strftime({column}, '%Y-%m-%dT%H:%M:%S{zone}')"
    return f"CAST({column} AS VARCHAR)"
