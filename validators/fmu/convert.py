"""Child program that converts a trajectory from CSV to Parquet once it is released.

`python -I convert.py FOLDER COLUMNS` reads `FOLDER/trajectory.csv`; `COLUMNS` is a file with a JSON
object of SQL types by title. It is started with the simulation, because its library takes 0.2 s to
load, and waits for the word `go` (`WaitingProgram`). Run by path and isolated, it imports nothing of
ours.
"""

import json
import os
import sys
from pathlib import Path

import duckdb

_CONFIG: dict[str, str | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": "256MB",
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def convert(connection: duckdb.DuckDBPyConnection, folder: Path, columns: dict[str, str]) -> None:
    """Write `trajectory.parquet` beside the CSV file. Raises duckdb.Error."""
    part, target = folder / "trajectory.part", folder / "trajectory.parquet"
    connection.execute(
        "COPY (SELECT * FROM read_csv($source, auto_detect=false, header=true, delim=',', "
        "quote='\"', escape='\"', columns=$columns)) "
        "TO $target (FORMAT parquet, COMPRESSION zstd)",
        {"source": str(folder / "trajectory.csv"), "columns": columns, "target": str(part)},
    )
    part.rename(target)


def main(folder: Path, columns: dict[str, str]) -> None:
    # Everything that can be done before the simulation ends is done first.
    connection = duckdb.connect(config={**_CONFIG, "temp_directory": str(folder)})
    connection.execute("SELECT 1")
    if sys.stdin.read() == "go":
        try:
            convert(connection, folder, columns)
        except duckdb.Error as error:
            sys.exit(f"{error!s:.1000}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))
    os._exit(0)  # the end of the interpreter and of the library would take 30 ms
