"""Structured log lines (JSON with Cloud Logging's `severity` and `message`) as people read them."""

import json
from collections.abc import Callable

_TOLD_OTHERWISE = ("severity", "message", "time", "logger", "exception")
_COLOURS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}

type Style = Callable[[str, str], str]


def readable(line: str, style: Style) -> list[str]:
    """Return the line as it came, or message and fields of a structured one, traceback below."""
    entry = _entry(line)
    if not entry:
        return [line]
    severity = entry.get("severity", "INFO")
    text = entry["message"]
    if severity not in ("INFO", "DEBUG"):
        text = f"{style(severity, _COLOURS.get(severity, 'bold'))} {text}"
    fields = " ".join(f"{k}={v}" for k, v in entry.items() if k not in _TOLD_OTHERWISE)
    first = f"{text}  {style(fields, 'dim')}" if fields else text
    return [*first.splitlines(), *entry.get("exception", "").splitlines()]


def _entry(line: str) -> dict[str, str] | None:
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not entry.get("message"):
        return None
    return {str(name): str(value) for name, value in entry.items()}
