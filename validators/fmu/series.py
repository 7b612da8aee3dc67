"""Inputs over time: a CSV file whose first column is the time and whose others are inputs."""

import csv
import io
import math
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from validators.fmu.description import Description
from validators.fmu.options import nearest_names
from validators.fmu.variable import FLOATS, FmuVariable, ValueRefused

SIZE_LIMIT = 64 << 20
VALUE_LIMIT = 5_000_000
_DELIMITERS = ",;\t"
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_ARRAY_TYPES = {"d": "f8", "q": "i8", "Q": "u8", "b": "?"}


class SeriesRefused(Exception):
    """The file with inputs over time cannot be used; the text names the file, line and column."""


def read_series(path: Path, description: Description, *, target: Path) -> dict[str, Any]:
    """Read a CSV file of inputs and write its columns, one after the other, as binary numbers.

    The header has `time` or `time [s]` first, then names of inputs or tunable parameters, each with
    its unit in brackets if it is to be checked and converted. The delimiter is a comma, a semicolon
    or a tab. Two lines with one time are a jump. Returns the job's description of `target`: its
    path, the number of rows, and name and NumPy type of each column. Raises SeriesRefused.
    """
    if (size := path.stat().st_size) > SIZE_LIMIT:
        raise SeriesRefused(f"{path.name} has {size} bytes; {SIZE_LIMIT} are allowed.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        text = f"{path.name} is not UTF-8 text (byte {error.start}); save it as CSV UTF-8."
        raise SeriesRefused(text) from None
    first = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return _Table(path.name, next(rows, []), description).write(rows, target)
    except csv.Error as error:
        raise SeriesRefused(f"{path.name}, line {rows.line_num}: {error}.") from None


class _Table:
    def __init__(self, file: str, header: list[str], description: Description) -> None:
        self._file = file
        names = [_split(title) for title in header]
        if len(names) < 2 or names[0][0].casefold() != "time" or names[0][1] not in {None, "s"}:
            text = (
                f"{file}, line 1: the header must be 'time' or 'time [s]' and then the names of "
                f"inputs; it is {','.join(header)[:200]!r}."
            )
            raise SeriesRefused(text)
        self._columns = [self._column(*name, description) for name in names[1:]]
        self._units = [unit for _, unit in names[1:]]
        doubles = [name for name, _ in names[1:] if names.count((name, _)) > 1]
        if doubles:
            raise SeriesRefused(f"{file}, line 1: {doubles[0]!r} is there twice.")

    def _column(self, name: str, unit: str | None, description: Description) -> FmuVariable:
        variable = description.variables.get(name)
        usable = {
            known: item
            for known, item in description.variables.items()
            if item.causality == "input" or item.variability == "tunable"
        }
        if variable is None:
            hint = nearest_names(name, usable)
            raise SeriesRefused(f"{self._file}, line 1: the FMU has no input {name!r}. {hint}")
        why = variable.why_not_settable
        if name not in usable:
            why = why or "it is not an input and not tunable"
        elif variable.type in {"String", "Binary"} or variable.shape:
            why = f"a {variable.type} {'array' if variable.shape else 'value'} cannot change over time"
        if why:
            raise SeriesRefused(f"{self._file}, line 1: {name!r} cannot be a column: {why}.")
        if unit is not None:
            try:
                variable.in_own_unit(0.0, unit)
            except ValueRefused as refused:
                raise SeriesRefused(f"{self._file}, line 1, {name!r}: {refused}.") from None
        return variable

    def write(self, rows: Iterator[list[str]], target: Path) -> dict[str, Any]:
        kinds = ["d", *(_kind(variable) for variable in self._columns)]
        columns: list[array[Any]] = [array(kind) for kind in kinds]
        last = -math.inf
        for line, row in enumerate(rows, start=2):
            if any(row):
                values = self._values(row, line, after=last)
                last = values[0]
                for column, value in zip(columns, values, strict=True):
                    column.append(value)
            if len(columns[0]) * len(columns) > VALUE_LIMIT:
                raise SeriesRefused(f"{self._file} has more than {VALUE_LIMIT} values.")
        if not columns[0]:
            raise SeriesRefused(f"{self._file} has a header but no values.")
        with target.open("wb") as file:
            for column in columns:
                column.tofile(file)
        names = ["time", *(variable.name for variable in self._columns)]
        types = [_ARRAY_TYPES[kind] for kind in kinds]
        return {
            "path": str(target),
            "rows": len(columns[0]),
            "columns": list(zip(names, types, strict=True)),
        }

    def _values(self, row: list[str], line: int, *, after: float) -> list[Any]:
        expected = len(self._columns) + 1
        if len(row) != expected:
            text = f"{len(row)} values instead of {expected}"
            raise SeriesRefused(f"{self._file}, line {line}: {text}.")
        time = self._number(row[0], line, "time")
        if time < after:
            text = f"the time {time:g} is before the time of the line above, {after:g}"
            raise SeriesRefused(f"{self._file}, line {line}: {text}.")
        cells = zip(row[1:], self._columns, self._units, strict=True)
        return [time, *(self._value(cell, variable, unit, line) for cell, variable, unit in cells)]

    def _value(self, cell: str, variable: FmuVariable, unit: str | None, line: int) -> Any:
        cell = cell.strip()
        value: Any = cell
        if variable.type == "Boolean":
            value = _TRUTH.get(cell.casefold(), cell)
        elif not (variable.type == "Enumeration" and cell in variable.items):
            value = self._number(cell, line, variable.name)
            if variable.type not in FLOATS and cell.lstrip("+-").isdigit():
                value = int(cell)
        try:
            return variable.convert(value if unit is None else {"value": value, "unit": unit})
        except ValueRefused as refused:
            text = f"{cell!r} is not a value for {variable.name!r}: {refused}"
            raise SeriesRefused(f"{self._file}, line {line}: {text}.") from None

    def _number(self, cell: str, line: int, name: str) -> float:
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            text = f"{cell[:80]!r} is not a finite number for {name!r}"
            raise SeriesRefused(f"{self._file}, line {line}: {text}.")
        return value


def _split(title: str) -> tuple[str, str | None]:
    """Return name and unit of a title such as `speed [m/s]`."""
    title = title.strip()
    if title.endswith("]") and " [" in title:
        name, _, unit = title[:-1].rpartition(" [")
        return name.strip(), unit
    return title, None


def _kind(variable: FmuVariable) -> str:
    if variable.type in FLOATS:
        return "d"
    return {"Boolean": "b", "UInt64": "Q"}.get(variable.type, "q")
