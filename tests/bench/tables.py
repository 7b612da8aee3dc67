"""Processor time and memory of the Tabular engine on a million rows.

`python -m tests.bench.tables` prints one row for each case, as JSON: processor time of the check with its
child process, and the peak of that process's memory.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from validibot.engines import Document, get_engine

type Row = tuple[str, str, str]

ROWS = 1_000_000
_STATUS = ("ok", "estimated", "bad")
COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "type": "string", "pattern": "M[0-9]{7}", "required": True},
    {"name": "site", "type": "string", "enum": [f"S{number:03}" for number in range(500)]},
    {"name": "measured", "type": "date", "minimum": "2026-01-02", "required": True},
    {"name": "kwh", "type": "number", "minimum": 0, "maximum": 99},
    {"name": "temperature", "type": "integer", "minimum": -30, "maximum": 60},
    {"name": "status", "type": "string", "enum": ["ok", "estimated"]},
    {"name": "email", "type": "string", "format": "email"},
    {"name": "uuid", "type": "string", "format": "uuid", "unique": True},
    {"name": "comment", "type": "string", "max_length": 50},
    {"name": "flag", "type": "boolean"},
]
SETTINGS: dict[str, Any] = {"columns": COLUMNS, "primary_key": ["id"]}
ROW_RULE = {"expression": "row.kwh >= 0.0 && row.temperature < 100"}


def table(rows: int = ROWS) -> bytes:
    """Return a CSV file with ten columns, about 125 bytes per row."""
    # A list of lines would make this process larger than its child, whose peak would be ours then.
    content = BytesIO()
    content.write(",".join(column["name"] for column in COLUMNS).encode())
    for n in range(rows):
        content.write(
            f"\nM{n:07},S{n % 500:03},2026-{n % 12 + 1:02}-{n % 28 + 1:02},{n % 1000 / 10},{n % 40 - 5},"
            f"{_STATUS[n % 3]},user{n % 1000}@example.org,{n:08x}-0000-4000-8000-{n:012x},"
            f"some text number {n},{'true' if n % 2 else 'false'}".encode()
        )
    return content.getvalue()


def measure() -> Iterator[Row]:
    """Yield the rows of the table of benchmarks, measured in a process without other children."""
    command = [sys.executable, "-m", __name__]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    yield from map(tuple, json.loads(output))


def _rows() -> Iterator[Row]:
    content = table()
    for title, more in (("", {}), (" and a row expression", {"row_rules": [ROW_RULE]})):
        started = sum(os.times()[:4])
        result = get_engine("tabular").check(
            Document(content, "readings.csv", ""), {**SETTINGS, **more}
        )
        seconds = sum(os.times()[:4]) - started
        assert result.outputs["row_count"] == ROWS
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
        name = f"Processor time: CSV, 1 million rows of 10 columns, types, ranges, two keys{title}"
        yield name, f"{seconds:.1f} s, {peak} MB", "≤ 30 s, ≤ 500 MB"


if __name__ == "__main__":
    json.dump(list(_rows()), sys.stdout, indent=1)
