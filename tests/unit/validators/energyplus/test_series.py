"""Time series of a run, written by a process that waits beside the engine."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from validators.energyplus import series
from validators.energyplus.artifacts import SeriesWriter, finished
from validators.energyplus.series import open_results, write_series

TABLES = """
CREATE TABLE EnvironmentPeriods (EnvironmentPeriodIndex, EnvironmentName, EnvironmentType);
INSERT INTO EnvironmentPeriods VALUES (1, 'DESIGN', 1), (2, 'YEAR', 3);
CREATE TABLE Time
    (TimeIndex INTEGER PRIMARY KEY, EnvironmentPeriodIndex, Month, Day, Hour, Minute, WarmupFlag);
INSERT INTO Time VALUES (1, 1, 1, 21, 1, 0, 0), (2, 2, 1, 1, 1, 0, 1), (3, 2, 1, 1, 1, 0, 0),
    (4, 2, 1, 1, 2, 0, 0), (5, 2, 1, 1, 24, 0, NULL);
CREATE TABLE ReportDataDictionary
    (ReportDataDictionaryIndex, KeyValue, Name, Units, ReportingFrequency);
INSERT INTO ReportDataDictionary VALUES (7, 'ROOM', 'Temperature', 'C', 'Hourly'),
    (8, NULL, 'Heat', 'J', 'Hourly'), (9, NULL, 'Heat', 'J', 'Daily');
CREATE TABLE ReportData
    (ReportDataIndex INTEGER PRIMARY KEY, TimeIndex, ReportDataDictionaryIndex, Value);
INSERT INTO ReportData VALUES (1, 1, 7, 9.0), (2, 2, 7, 9.0), (3, 3, 7, 20.5), (4, 3, 8, 1.0),
    (5, 4, 8, 3.0), (6, 5, 9, 4.0);
"""
HOURLY = (
    "Date/Time,ROOM:Temperature [C](Hourly),Heat [J](Hourly)\r\n"
    "01/01 01:00,20.5,1.0\r\n"
    "01/01 02:00,,3.0\r\n"
)
DAILY = "Date/Time,Heat [J](Daily)\r\n01/01,4.0\r\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "eplusout.sql")) as results:
        results.executescript(TABLES)
    return folder


def writer(run: Path) -> SeriesWriter:
    return SeriesWriter(run, folder=run.parent / "series", timeout=30, memory_mb=None)


def read(path: Path) -> str:
    return path.read_text(newline="")


def test_released_writer_writes_series(run: Path) -> None:
    (run / "eplusout.csv").write_text("the engine's own")
    (run / "eplusout.err").write_text("done")

    with writer(run) as waiting:
        early = {artifact.path.name for artifact in finished(run)}
        waiting.release()
        messages = waiting.result()

    assert messages == []
    assert early == {"eplusout.err", "eplusout.sql"}
    assert read(run / "eplusout.csv") == HOURLY
    assert read(run / "eplusout_daily.csv") == DAILY


def test_unreleased_writer_ends_without_files(run: Path) -> None:
    with writer(run):
        pass

    assert {path.name for path in run.iterdir()} == {"eplusout.sql"}


def test_broken_database_becomes_warning(run: Path) -> None:
    (run / "eplusout.sql").write_bytes(b"garbage" * 100)

    with writer(run) as waiting:
        waiting.release()
        (message,) = waiting.result()

    assert message.code == "ENERGYPLUS_SERIES_LEFT_OUT"
    assert "not written (file is not a database)" in message.text
    assert {path.name for path in run.iterdir()} == {"eplusout.sql"}


def test_finest_frequency_beyond_limit_is_left_out(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "VALUE_LIMIT", 5)

    with open_results(run / "eplusout.sql") as results:
        texts = write_series(results, run)

    assert [text.split(":")[0] for text in texts] == ["eplusout.csv was not written"]
    assert not (run / "eplusout.csv").exists()
    assert read(run / "eplusout_daily.csv") == DAILY
