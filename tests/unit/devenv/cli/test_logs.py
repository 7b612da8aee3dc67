"""Unit tests of the lines that `logs` chooses."""

import json
import re
from datetime import UTC, datetime

import pytest

from devenv.cli.logs import LogChoice, moment
from devenv.stack.logfile import LogLevel
from devenv.stack.loglines import LogFilter
from devenv.stack.problems import UsageProblem

NOW = datetime(2026, 1, 31, 14, 30, tzinfo=UTC).timestamp()
TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "app.py", line 1, in <module>',
    "    import nothing",
    "ModuleNotFoundError: No module named 'nothing'",
]


def chosen(lines: list[str], level: LogLevel) -> list[str]:
    ours = LogFilter(level=level)
    return [line for line in lines if ours.passes(line)]


@pytest.mark.parametrize(
    "line",
    [
        "2026-01-31 14:05:00,123 WARNING shop root was asked",
        "2026-01-31T14:05:00.123Z [7] WARNING in shop: asked",
        "[2026-01-31 14:05:00 +0000] [7] [WARNING] asked",
        "14:05:00 WARN asked",
        "WARNING: asked",
    ],
)
def test_severity_is_found_after_time_and_process(line: str) -> None:
    quiet = ["2026-01-31 14:05:00 INFO an ERROR was mended", "[7] asked for a WARNING"]

    assert chosen([line, *quiet], LogLevel.WARNING) == [line]


@pytest.mark.parametrize(("text", "ago"), [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86400)])
def test_duration_is_subtracted_from_now(text: str, ago: int) -> None:
    assert moment(text, now=lambda: NOW) == NOW - ago


def test_iso_time_with_zone_is_that_moment() -> None:
    assert moment("2026-01-31T14:00:00+00:00") == NOW - 1800


def test_time_of_day_is_today() -> None:
    local = datetime.fromtimestamp(NOW).astimezone()

    assert moment(local.strftime("%H:%M"), now=lambda: NOW) == NOW


@pytest.mark.parametrize("text", ["yesterday", "10 parsecs", "25:00", "-5m", "2026-13-01"])
def test_unknown_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageProblem, match=f"--since is '{text}'; it must be 30s, 10m"):
        moment(text)


def test_broken_pattern_is_refused() -> None:
    with pytest.raises(UsageProblem, match=r"--grep is '\(', which is no regular expression"):
        LogChoice.parse(since="", lines=None, level=LogLevel.DEBUG, grep="(")


def test_since_shows_all_lines_unless_told_how_many() -> None:
    def count(**options: object) -> int | None:
        told = {"since": "", "lines": None, "level": LogLevel.DEBUG, "grep": ""} | options
        return LogChoice.parse(**told).count  # type: ignore[arg-type]

    assert (count(), count(since="5m"), count(since="5m", lines=3)) == (40, None, 3)


def test_docker_leaves_out_no_line_that_may_pass() -> None:
    plain = LogChoice(since=0, count=40, level=LogLevel.DEBUG, pattern=None)
    severe = LogChoice(since=7.5, count=40, level=LogLevel.ERROR, pattern=None)

    assert plain.docker_options(follow=True) == ["--tail", "40", "--follow"]
    assert severe.docker_options(follow=False) == ["--tail", "all", "--since", "7"]


@pytest.mark.parametrize(
    ("line", "level"),
    [
        (json.dumps({"severity": "WARNING", "message": "slow"}), LogLevel.WARNING),
        (json.dumps({"severity": "ALERT", "message": "fire"}), LogLevel.CRITICAL),
        (json.dumps({"message": "plain"}), LogLevel.INFO),
        ("[ERROR] Unexpected exit from worker-1", LogLevel.ERROR),
        ("ERROR:  relation does not exist", LogLevel.ERROR),
        ("FATAL:  the database system is starting up", LogLevel.CRITICAL),
        ("LOG:  listening", LogLevel.INFO),
        ("error in a sentence has no level", LogLevel.INFO),
    ],
)
def test_severity_of_a_line_is_found(line: str, level: LogLevel) -> None:
    higher = [one for one in LogLevel if one.rank > level.rank]

    assert chosen([line], level) == [line]
    assert not any(chosen([line], one) for one in higher)


def test_traceback_belongs_to_its_error_to_the_last_line() -> None:
    lines = ["starting", *TRACEBACK, "started"]

    assert chosen(lines, LogLevel.ERROR) == TRACEBACK


def test_indented_lines_belong_to_the_line_above() -> None:
    lines = ["WARNING: two problems", "  one", "  two", "done"]

    assert chosen(lines, LogLevel.WARNING) == lines[:3]


def test_pattern_searches_what_people_read() -> None:
    ours = LogFilter(pattern=re.compile("run_id=7$"))

    assert ours.passes(json.dumps({"message": "done", "run_id": "7"}))
    assert not ours.passes(json.dumps({"message": "done", "run_id": "8"}))
