"""Comparisons of the query language with the fields of a log entry.

A text compares without regard to case, but in regular expressions, which are RE2. A field that an
entry does not have differs from every value; all other comparisons with it are false.
"""

import datetime as dt
import operator as operators
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any
from urllib.parse import quote

from google.logging.type.log_severity_pb2 import LogSeverity
from google.protobuf.timestamp_pb2 import Timestamp

from devenv.gcp.logging.entry_view import (
    EntryTest,
    LogEntry,
    possible_test,
    text_of,
    texts_in,
)
from devenv.gcp.patterns import pattern_test

_OFFSET = re.compile(r"([+-]\d\d)(\d\d)$")

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operators.eq,
    ":": operators.eq,
    ">": operators.gt,
    "<": operators.lt,
    ">=": operators.ge,
    "<=": operators.le,
}


class FilterProblem(Exception):
    """A comparison that is never possible; `in_field` tells whether its field is at fault."""

    def __init__(self, message: str, *, in_field: bool = False) -> None:
        super().__init__(message)
        self.in_field = in_field


@dataclass(frozen=True)
class FieldComparison:
    """An operator and the value at its right; `quoted` if that is a string and not a bare word."""

    operator: str
    text: str
    quoted: bool = False
    folded: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folded", self.text.casefold())

    @cached_property
    def number(self) -> float | None:
        return number_of(self.text)

    @property
    def negative(self) -> bool:
        return self.operator in ("!=", "!~")

    def positive(self) -> "FieldComparison":
        """Return the comparison that this one is the opposite of, or itself."""
        opposite = {"!=": "=", "!~": "=~"}.get(self.operator, self.operator)
        return FieldComparison(opposite, self.text, self.quoted)


def field_test(path: list[str], comparison: FieldComparison) -> EntryTest:
    """Return the test of one comparison. Raises FilterProblem."""
    if comparison.negative:
        inner = field_test(path, comparison.positive())
        return lambda view: not inner(view)
    names = known_path(path)
    if comparison.operator == "=~":
        return _regex_test(names, comparison.text)
    if comparison.operator == ":" and comparison.text == "*" and not comparison.quoted:
        return lambda view: any(True for _ in view.values(names))
    if len(names) == 1 and names[0] in _TYPED:
        return _TYPED[names[0]](comparison)
    may_hold = _possible(names, comparison)
    return lambda view: (
        may_hold(view) and any(_holds(each, comparison) for each in view.values(names))
    )


def log_id_test(log_id: str) -> EntryTest:
    """Return the test of `log_id("run.googleapis.com/stdout")`."""
    wanted = quote(log_id, safe="")
    return lambda view: view.entry.log_name.rpartition("/")[2] == wanted


def nanoseconds(timestamp: Any) -> int:
    return int(timestamp.seconds) * 10**9 + int(timestamp.nanos)


def ordered(operator: str) -> Callable[[Any, Any], bool] | None:
    """Return the comparison of an operator, None for a match or a containment."""
    return None if operator == ":" else _ORDERS.get(operator)


def known_path(path: list[str]) -> list[str]:
    """Return a path with the names of JSON, whose first is a field of LogEntry. Raises FilterProblem."""
    by_name, by_json = LogEntry.DESCRIPTOR.fields_by_name, _json_names()
    first = path[0]
    if first in by_name:
        first = by_name[first].json_name
    if first not in by_json:
        known = ", ".join(sorted(by_json))
        raise FilterProblem(
            f"Field not found: {path[0][:100]!r}. Fields are {known}.", in_field=True
        )
    return [first, *path[1:]]


@cache
def _json_names() -> frozenset[str]:
    return frozenset(each.json_name for each in LogEntry.DESCRIPTOR.fields)


def _possible(names: list[str], wanted: FieldComparison) -> EntryTest:
    """Return a cheap test that every entry passes for which a comparison holds."""
    # Below these all names are keys of the entry itself, which are in its bytes as its strings are.
    own = names[0] in ("textPayload", "jsonPayload", "labels", "logName", "insertId", "trace")
    if (own or names[:2] == ["resource", "labels"] or names == ["resource", "type"]) and (
        wanted.operator in ("=", ":") and wanted.number is None
    ):
        return possible_test(wanted.folded)
    return lambda _view: True


def _holds(value: Any, wanted: FieldComparison) -> bool:
    if isinstance(value, dict):
        if wanted.operator != ":":
            return False
        return any(wanted.folded == key.casefold() for key in value) or any(
            wanted.folded in each.casefold() for each in texts_in(value)
        )
    if isinstance(value, bool) or value is None:
        return wanted.operator in ("=", ":") and text_of(value) == wanted.folded
    compare = _ORDERS[wanted.operator]
    left = number_of(value)
    is_number = not isinstance(value, str) or wanted.operator not in ("=", ":")
    if is_number and left is not None and wanted.number is not None:
        return compare(left, wanted.number)
    text = text_of(value).casefold()
    return wanted.folded in text if wanted.operator == ":" else compare(text, wanted.folded)


def number_of(value: Any) -> float | None:
    """Return a number, also that of a text or of a duration such as `0.5s`."""
    try:
        return float(value.removesuffix("s") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        return None


def _severity_test(wanted: FieldComparison) -> EntryTest:
    name = wanted.text.upper()
    if name in LogSeverity.keys():  # noqa: SIM118 - not a mapping
        level = LogSeverity.Value(name)
    elif name.isdecimal() and len(name) < 6:
        level = int(name)
    else:
        known = ", ".join(LogSeverity.keys())
        raise FilterProblem(f"Unknown severity {wanted.text[:100]!r}; known are {known}.")
    compare = _ORDERS[wanted.operator]
    return lambda view: compare(view.entry.severity, level)


def _time_test(attribute: str, wanted: FieldComparison) -> EntryTest:
    moment = moment_of(wanted.text)
    compare = _ORDERS[wanted.operator]
    return lambda view: compare(nanoseconds(getattr(view.entry, attribute)), moment)


_TYPED: Mapping[str, Callable[[FieldComparison], EntryTest]] = {
    "severity": _severity_test,
    "timestamp": partial(_time_test, "timestamp"),
    "receiveTimestamp": partial(_time_test, "receive_timestamp"),
}


def moment_of(text: str) -> int:
    """Return nanoseconds since 1970 of an RFC 3339 time or a date. Raises FilterProblem."""
    timestamp = Timestamp()
    try:
        if len(text) == len("2026-01-31"):
            timestamp.FromDatetime(dt.datetime.combine(dt.date.fromisoformat(text), dt.time()))
        else:
            # Google's Python client writes +0000.
            timestamp.FromJsonString(_OFFSET.sub(r"\1:\2", text.upper()))
    except ValueError as error:
        raise FilterProblem(
            f'{text[:100]!r} is no time; write it like "2026-01-31T12:00:00Z" or "2026-01-31".'
        ) from error
    return nanoseconds(timestamp)


def text_pattern(pattern: str) -> Callable[[str], bool]:
    """Return the test of a text for a match. Raises FilterProblem."""
    try:
        return pattern_test(pattern)
    except ValueError as error:
        raise FilterProblem(str(error)) from error


def _regex_test(names: list[str], pattern: str) -> EntryTest:
    matches = text_pattern(pattern)
    return lambda view: any(
        matches(text_of(each)) for each in view.values(names) if not isinstance(each, dict)
    )
