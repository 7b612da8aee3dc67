"""Child program that writes the time series of a run as CSV files, once it is released.

`python -I -S series.py RUN FOLDER` reads `RUN/eplusout.sql`, writes into FOLDER, and prints a JSON list
of texts: what had to be left out. It is started with the simulation (`WaitingProgram`), so that the
series are written while the other results are read and stored. It is run by path and isolated, so it
imports nothing of this repository.
"""

import csv
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEATHER_RUN = 3
"""EnvironmentType of a run period; 1 and 2 are design days."""

_DESIGN_DAY = 1
_MOMENTS = 2000  # times that are looked up at once
VALUE_LIMIT = 20_000_000
"""Values of all files together: about 20 s of work."""

# Finest first: those are left out where there are too many values.
_FREQUENCIES = {
    "HVAC System Timestep": ("eplusout_detailed.csv", "%02d/%02d %02d:%02d", 4),
    "Zone Timestep": ("eplusout_timestep.csv", "%02d/%02d %02d:%02d", 4),
    "Hourly": ("eplusout.csv", "%02d/%02d %02d:%02d", 4),
    "Daily": ("eplusout_daily.csv", "%02d/%02d", 2),
    "Monthly": ("eplusout_monthly.csv", "%02d", 1),
    "Run Period": ("eplusout_runperiod.csv", "", 0),
    "Annual": ("eplusout_annual.csv", "", 0),
}


@dataclass(kw_only=True)
class _Series:
    """File of one frequency, and the row that is being filled."""

    writer: Any
    label: str
    parts: int
    row: list[str | float]
    time: int | None = None

    def begin(self, time: int, moment: tuple[str, int, int, int, int]) -> None:
        """Write the row and begin that of another time."""
        self.write()
        self.time = time
        name, *parts = moment
        label = self.label % tuple(parts[: self.parts]) if self.parts else name
        self.row = [label, *[""] * (len(self.row) - 1)]

    def write(self) -> None:
        if self.time is not None:
            self.writer.writerow(self.row)


FILES = frozenset(name for name, _, _ in _FREQUENCIES.values())


@contextmanager
def open_results(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the database read-only."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        yield connection


def has_weather_run(results: sqlite3.Connection) -> bool:
    """Return whether a run period was simulated, and not only design days."""
    query = "SELECT 1 FROM EnvironmentPeriods WHERE EnvironmentType = ?"
    return results.execute(query, (WEATHER_RUN,)).fetchone() is not None


def write_series(results: sqlite3.Connection, folder: Path) -> list[str]:
    """Write a file for each frequency that has values; return what had to be left out.

    Rows are the times of the run periods, or of the design days if there are no run periods; times
    are the ends of intervals, as the engine reports them. Each file has a column for each variable
    and meter, however many there are. The values are read once, in the order of the database, and
    only one row of each file is in memory.
    """
    skipped, texts = _too_many(results)
    with ExitStack() as files:
        columns: dict[int, tuple[_Series, int]] = {}
        for frequency in _FREQUENCIES:
            if frequency not in skipped:
                columns |= _open(results, frequency, folder, files)
        if columns:
            _fill(results, columns, skipped)
    return texts


def _open(
    results: sqlite3.Connection, frequency: str, folder: Path, files: ExitStack
) -> dict[int, tuple[_Series, int]]:
    """Write the head of a frequency's file; return the place of each of its variables."""
    variables = results.execute(
        "SELECT ReportDataDictionaryIndex, coalesce(KeyValue || ':', '') || Name"
        " || ' [' || Units || '](' || replace(ReportingFrequency, ' ', '') || ')'"
        " FROM ReportDataDictionary WHERE ReportingFrequency = ? ORDER BY 1",
        (frequency,),
    ).fetchall()
    if not variables:
        return {}
    name, label, parts = _FREQUENCIES[frequency]
    writer = csv.writer(files.enter_context((folder / name).open("w", newline="")))
    writer.writerow(["Date/Time", *(title for _, title in variables)])
    series = _Series(writer=writer, label=label, parts=parts, row=[""] * (len(variables) + 1))
    return {index: (series, place) for place, (index, _) in enumerate(variables, start=1)}


def _fill(
    results: sqlite3.Connection, columns: dict[int, tuple[_Series, int]], skipped: list[str]
) -> None:
    kind = WEATHER_RUN if has_weather_run(results) else _DESIGN_DAY
    moments: dict[int, tuple[str, int, int, int, int] | None] = {}
    values = results.execute(
        "SELECT TimeIndex, ReportDataDictionaryIndex, Value FROM ReportData"
        " WHERE ReportDataDictionaryIndex NOT IN (SELECT ReportDataDictionaryIndex"
        " FROM ReportDataDictionary JOIN json_each(?) ON ReportingFrequency = value)",
        (json.dumps(skipped),),
    )
    last = moment = None
    for time, variable, value in values:
        # The values of a time follow each other.
        if time != last:
            last = time
            if time not in moments:
                moments = _moments(results, time, kind)
            moment = moments[time]
        if moment is None or variable not in columns:
            continue
        series, place = columns[variable]
        if series.time != time:
            series.begin(time, moment)
        series.row[place] = value
    for series in {id(series): series for series, _ in columns.values()}.values():
        series.write()


def _moments(
    results: sqlite3.Connection, first: int, environment_type: int
) -> dict[int, tuple[str, int, int, int, int] | None]:
    """Return the next times from `first`: environment, month, day, hour and minute.

    Times of another type of environment, or of its warm-up, are None.
    """
    rows = results.execute(
        "SELECT t.TimeIndex, e.EnvironmentType = ? AND ifnull(t.WarmupFlag, 0) = 0,"
        " e.EnvironmentName, t.Month, t.Day, t.Hour, t.Minute FROM Time t"
        " JOIN EnvironmentPeriods e USING (EnvironmentPeriodIndex)"
        " WHERE t.TimeIndex >= ? ORDER BY t.TimeIndex LIMIT ?",
        (environment_type, first, _MOMENTS),
    )
    return {first: None} | {index: tuple(rest) if counts else None for index, counts, *rest in rows}


def _too_many(results: sqlite3.Connection) -> tuple[list[str], list[str]]:
    """Return the frequencies to leave out, and a text for each."""
    count = results.execute("SELECT max(ReportDataIndex) FROM ReportData").fetchone()[0] or 0
    if count <= VALUE_LIMIT:
        return [], []
    by_frequency = dict(
        results.execute(
            "SELECT ReportingFrequency, count(*) FROM ReportData"
            " JOIN ReportDataDictionary USING (ReportDataDictionaryIndex) GROUP BY 1"
        ).fetchall()
    )
    skipped: list[str] = []
    texts = []
    for frequency, (name, _, _) in _FREQUENCIES.items():
        if count > VALUE_LIMIT and (values := by_frequency.get(frequency)):
            skipped.append(frequency)
            count -= values
            texts.append(
                f"{name} was not written: it would have {values:,} values, and the CSV files of a "
                f"run have at most {VALUE_LIMIT:,} together. The values are in eplusout.sql."
            )
    return skipped, texts


def main(run: Path, folder: Path) -> None:
    if sys.stdin.read() != "go":
        return
    try:
        with open_results(run / "eplusout.sql") as results:
            sys.stdout.write(json.dumps(write_series(results, folder)))
    except (sqlite3.Error, OSError) as problem:
        sys.exit(str(problem))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
