"""Lines of logs: structured ones, their severity, and the choice of lines by both."""

import json
import re
from datetime import datetime

from devenv.stack.logfile import LogLevel

_OWN_FIELDS = ("severity", "message", "time", "logger", "exception")


def log_entry(line: str) -> dict[str, str] | None:
    """Return the fields of a structured line: JSON with Cloud Logging's `message`; else None."""
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not entry.get("message"):
        return None
    return {str(name): str(value) for name, value in entry.items()}


def other_fields(entry: dict[str, str]) -> str:
    """Return the fields of a structured line that are neither its message nor its severity."""
    return " ".join(f"{k}={v}" for k, v in entry.items() if k not in _OWN_FIELDS)


def time_of(line: str) -> float:
    """Return the Unix seconds of a structured line, 0 for a line without a time."""
    entry = log_entry(line) or {}
    try:
        return datetime.fromisoformat(entry.get("time", "")).timestamp()
    except ValueError:
        return 0.0


def plain_lines(line: str) -> list[str]:
    """Return a line as people read it, over several lines if it has a traceback.

    A structured line becomes its message and its other fields; any other line is unchanged.
    """
    entry = log_entry(line)
    if not entry:
        return [line]
    severity = entry.get("severity", "INFO")
    label = "" if severity in ("INFO", "DEBUG") else f"{severity} "
    text = "  ".join(part for part in (f"{label}{entry['message']}", other_fields(entry)) if part)
    return [*text.splitlines(), *entry.get("exception", "").splitlines()]


# Other words for a severity: those of PostgreSQL and of Cloud Logging.
_LEVELS = {one.value: one for one in LogLevel} | {
    "warn": LogLevel.WARNING,
    "log": LogLevel.INFO,
    "notice": LogLevel.INFO,
    "statement": LogLevel.INFO,
    "fatal": LogLevel.CRITICAL,
    "panic": LogLevel.CRITICAL,
    "alert": LogLevel.CRITICAL,
    "emergency": LogLevel.CRITICAL,
}
_WORD = f"({'|'.join(_LEVELS)})"
_LEVEL = re.compile(rf"\W*{_WORD}\b[\]:]", re.IGNORECASE)
# `2026-01-31 14:05:00,123 [7] WARNING shop`, as loggers of Python, Java and Go write it: only times,
# numbers and names in brackets stand before the severity, which is in capitals.
_LATER_LEVEL = re.compile(rf"(?:[\d:.,/+TZ-]+\s+|\[[^\]]*\]\s*)+\[?{_WORD.upper()}\b")
_TRACEBACK = "Traceback (most recent call last):"


class LogFilter:
    """Chooses lines of one service by severity and by a pattern of what people read.

    A line without a severity is `info`, unless it continues the one before: a traceback and the
    lines indented below a line belong to it.
    """

    def __init__(
        self, *, level: LogLevel = LogLevel.DEBUG, pattern: re.Pattern[str] | None = None
    ) -> None:
        self._level = level
        self._pattern = pattern
        self._last = LogLevel.INFO
        self._in_traceback = False

    @property
    def level(self) -> LogLevel:
        """The severity of the line that was judged last."""
        return self._last

    def passes(self, line: str) -> bool:
        self._last = self._level_of(line)
        if self._last.rank < self._level.rank:
            return False
        if self._pattern is None:
            return True
        return any(self._pattern.search(text) for text in plain_lines(line))

    def _level_of(self, line: str) -> LogLevel:
        if entry := log_entry(line):
            return _LEVELS.get(entry.get("severity", "").lower(), LogLevel.INFO)
        continues = self._in_traceback or line[:1].isspace()
        if line.startswith(_TRACEBACK):
            self._in_traceback = True
            return max(self._last, LogLevel.ERROR, key=lambda level: level.rank)
        # The last line of a traceback is the first that is not indented: the error.
        self._in_traceback = self._in_traceback and (line[:1].isspace() or not line)
        if found := _LEVEL.match(line) or _LATER_LEVEL.match(line):
            return _LEVELS[found[1].lower()]
        return self._last if continues else LogLevel.INFO
