"""Trajectory of a simulation as artifacts: CSV and Parquet with one column for each output."""

import itertools
import json
import logging
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from validators.fmu.options import StepOptions
from validators.fmu.variable import FLOATS, INTEGER_RANGES, FmuVariable
from validators.sdk.process import WaitingProgram
from validators.sdk.validation import ArtifactFile

log = logging.getLogger(__name__)

VALUE_LIMIT = 5_000_000
BYTE_LIMIT = 256 << 20
COLUMN_LIMIT = 20_000
_CONVERT = Path(__file__).with_name("convert.py")
_SQL_TYPES = {
    "Float32": "FLOAT",
    "Int8": "TINYINT",
    "UInt8": "UTINYINT",
    "Int16": "SMALLINT",
    "UInt16": "USMALLINT",
    "UInt32": "UINTEGER",
    "Int64": "BIGINT",
    "UInt64": "UBIGINT",
    "Enumeration": "BIGINT",
    "Boolean": "BOOLEAN",
}


def columns(outputs: Sequence[FmuVariable]) -> list[tuple[str, str]]:
    """Return title and SQL type of each column: `time [s]`, `speed [m/s]`, `table[2,1] [K]`."""
    found = [("time [s]", "DOUBLE")]
    for variable in outputs:
        kind = _SQL_TYPES.get(variable.type, "DOUBLE" if variable.type in FLOATS else "VARCHAR")
        if variable.type in INTEGER_RANGES and variable.type not in _SQL_TYPES:
            kind = "INTEGER"
        found += [(title, kind) for title in _titles(variable)]
    return _distinct(found)


def stride(options: StepOptions) -> int:
    """Return which samples are written, so that their values stay within the limit."""
    width = 1 + sum(variable.size for variable in options.outputs)
    return max(1, math.ceil((options.plan.steps + 1) * width / VALUE_LIMIT))


def reading(outputs: Sequence[FmuVariable]) -> dict[str, Any]:
    """Return the job's description of what to read at each sample.

    Values are read by type, `groups`, and then put into the order of the outputs, `order`;
    `columns` are the names of their variables.
    """
    kinds: dict[str, list[FmuVariable]] = {}
    for variable in outputs:
        kinds.setdefault(variable.type, []).append(variable)
    read = [variable for same in kinds.values() for variable in same]
    ends = itertools.accumulate(variable.size for variable in read)
    ranges = {
        variable.name: range(end - variable.size, end)
        for variable, end in zip(read, ends, strict=True)
    }
    return {
        "outputs": [
            {"name": variable.name, "size": variable.size, "shape": variable.shape}
            for variable in outputs
        ],
        "groups": [
            (kind, [variable.reference for variable in same], sum(item.size for item in same))
            for kind, same in kinds.items()
        ],
        "order": [index for variable in outputs for index in ranges[variable.name]],
        "columns": [variable.name for variable in outputs for _ in range(variable.size)],
    }


class TrajectoryConverter(WaitingProgram):
    """Process that waits beside the simulation and then converts its trajectory to Parquet.

    The conversion is bounded like the simulation, and what it does to its memory stays there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        header: Sequence[tuple[str, str]],
        timeout: float,
        memory_mb: int | None,
    ) -> None:
        self._folder = folder
        own = folder / "convert"
        own.mkdir()
        (own / "columns.json").write_text(json.dumps(dict(header)))
        super().__init__(
            [sys.executable, "-I", _CONVERT, folder, own / "columns.json"],
            folder=own,
            timeout=timeout,
            memory_mb=memory_mb,
        )

    def artifacts(self) -> list[ArtifactFile]:
        """Return the CSV file as an artifact, and a Parquet copy of it if it can be converted."""
        csv = self._folder / "trajectory.csv"
        found = [ArtifactFile(path=csv, type="timeseries-csv", mime_type="text/csv")]
        self.release()
        ended = self.ended()
        parquet = csv.with_suffix(".parquet")
        if ended.returncode or not parquet.is_file():
            # Texts of the model may be longer than the converter takes; the verdict stays.
            log.warning("no Parquet file: %s", ended.stderr_tail.strip())
            return found
        mime_type = "application/vnd.apache.parquet"
        return [*found, ArtifactFile(path=parquet, type="timeseries-parquet", mime_type=mime_type)]


def cut_to_complete_rows(csv: Path) -> int:
    """Drop what follows the last complete row; return how many rows there are below the header.

    For the trajectory of a process that crashed.
    """
    if not csv.is_file():
        return 0
    rows = end = position = 0
    with csv.open("r+b") as file:
        for line in file:
            position += len(line)
            if line.endswith(b"\r\n"):
                rows, end = rows + 1, position
        file.truncate(end)
    return max(rows - 1, 0)


def _titles(variable: FmuVariable) -> list[str]:
    if not variable.shape:
        return [variable.label]
    unit = f" [{variable.unit.name}]" if variable.unit else ""
    places = itertools.product(*(range(1, size + 1) for size in variable.shape))
    return [f"{variable.name}[{','.join(map(str, place))}]{unit}" for place in places]


def _distinct(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the columns with a number behind a title that is there already, whatever its case."""
    seen: Counter[str] = Counter()
    result = []
    for title, kind in found:
        seen[title.casefold()] += 1
        count = seen[title.casefold()]
        result.append((title if count == 1 else f"{title} ({count})", kind))
    return result
