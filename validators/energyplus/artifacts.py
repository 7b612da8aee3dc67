"""Output files of a run as artifacts: all that the engine wrote, and its time series as CSV.

The time series are one file for each reporting frequency, from the SQLite output. Large texts are
compressed.
"""

import csv
import gzip
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validibot_shared.validations.envelopes import Severity, ValidationMessage

from validators.energyplus.results import WEATHER_RUN, has_weather_run
from validators.sdk.validation import ArtifactFile

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
    moment: int | None = None

    def write(self) -> None:
        if self.moment is not None:
            self.writer.writerow(self.row)


def write_series(results: sqlite3.Connection, folder: Path) -> list[ValidationMessage]:
    """Write a file for each frequency that has values; return what had to be left out.

    Rows are the times of the run periods, or of the design days if there are no run periods; times
    are the ends of intervals, as the engine reports them. Each file has a column for each variable
    and meter, however many there are. The values are read once, in the order of the database, and
    only one row of each file is in memory.
    """
    skipped, messages = _too_many(results)
    with ExitStack() as files:
        columns: dict[int, tuple[_Series, int]] = {}
        for frequency in _FREQUENCIES:
            if frequency not in skipped:
                columns |= _open(results, frequency, folder, files)
        if columns:
            _fill(results, columns, skipped)
    return messages


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
    for index, variable, value in values:
        if index not in moments:
            moments = _moments(results, index, kind)
        moment = moments[index]
        if moment is None or variable not in columns:
            continue
        series, place = columns[variable]
        if series.moment != index:
            series.write()
            series.moment = index
            series.row = [""] * len(series.row)
            name, *parts = moment
            series.row[0] = series.label % tuple(parts[: series.parts]) if series.parts else name
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


def _too_many(results: sqlite3.Connection) -> tuple[list[str], list[ValidationMessage]]:
    """Return the frequencies to leave out, and a message for each."""
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
    messages = []
    for frequency, (name, _, _) in _FREQUENCIES.items():
        if count > VALUE_LIMIT and (values := by_frequency.get(frequency)):
            skipped.append(frequency)
            count -= values
            text = (
                f"{name} was not written: it would have {values:,} values, and the CSV files of a "
                f"run have at most {VALUE_LIMIT:,} together. The values are in eplusout.sql."
            )
            messages.append(
                ValidationMessage(
                    severity=Severity.WARNING, code="ENERGYPLUS_SERIES_LEFT_OUT", text=text
                )
            )
    return skipped, messages


COMPRESS_ABOVE = 8 << 20
SIZE_LIMIT = 2 << 30

_TYPES = {
    "eplusout.sql": "simulation-db",
    "eplusout.csv": "timeseries-csv",
    "eplusout.err": "err-log",
    "eplusout.eso": "eso",
    "eplustbl.htm": "report-html",
    "eplusout_zones.csv": "zone-summary",
}
_MIME_TYPES = {
    ".csv": "text/csv",
    ".dxf": "image/vnd.dxf",
    ".gz": "application/gzip",
    ".htm": "text/html",
    ".json": "application/json",
    ".sql": "application/vnd.sqlite3",
    ".svg": "image/svg+xml",
    ".tab": "text/tab-separated-values",
    ".xml": "application/xml",
}
_BINARY = {".sql", ".cbor", ".msgpack", ".glhe"}


def collect(folder: Path) -> tuple[list[ArtifactFile], list[ValidationMessage]]:
    """Return the artifacts in a run's folder, and a message for each file that was left out.

    Texts above `COMPRESS_ABOVE` bytes are compressed with gzip and get `.gz` behind their name; CSV
    and HTML stay as they are, because people open them. Empty files are no artifacts. Calling it
    again, when there are more files, changes nothing about the first ones.
    """
    artifacts = []
    messages = []
    for path in sorted(_written(folder)):
        name = path.name.removesuffix(".gz")
        kind = _TYPES.get(name) or ("timeseries-csv" if _is_series(path) else "file")
        mime_type = _MIME_TYPES.get(path.suffix, "text/plain")
        if path.suffix in _BINARY and path.suffix not in _MIME_TYPES:
            mime_type = "application/octet-stream"
        if mime_type in {"text/plain", "application/json"} and (
            path.stat().st_size > COMPRESS_ABOVE
        ):
            path, mime_type = _compressed(path), "application/gzip"  # noqa: PLW2901
        if (size := path.stat().st_size) > SIZE_LIMIT:
            messages.append(_left_out(path.name, size))
        else:
            artifacts.append(ArtifactFile(path=path, type=kind, mime_type=mime_type))
    return artifacts, messages


def _written(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        ours = path.name.startswith("eplus") and not path.is_symlink()
        if ours and path.is_file() and path.stat().st_size:
            yield path


def _is_series(path: Path) -> bool:
    return path.name.startswith("eplusout_") and path.suffix == ".csv"


def _compressed(path: Path) -> Path:
    """Compress a file beside it and remove it."""
    target = path.with_name(f"{path.name}.gz")
    # Level 1: these files shrink to a tenth with it, and higher levels take several times as long.
    with path.open("rb") as source, gzip.open(target, "wb", compresslevel=1) as file:
        shutil.copyfileobj(source, file, 1 << 20)
    path.unlink()
    return target


def _left_out(name: str, size: int) -> ValidationMessage:
    text = (
        f"{name} was not kept: it has {size >> 20:,} MB, and an output file may have "
        f"{SIZE_LIMIT >> 20:,} MB. Request fewer variables, or a coarser reporting frequency."
    )
    return ValidationMessage(severity=Severity.WARNING, code="ENERGYPLUS_FILE_LEFT_OUT", text=text)
