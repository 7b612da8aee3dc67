"""Operators of Basic rules: each with its title, the kind of its value, and its test.

A test gets the value of the document and that of the rule and returns whether the rule holds; it
raises Unfit if the value is of another kind. `must` completes the sentence "it must …".
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from validibot.core.echo import echo
from validibot.engines.basic.paths import parse_path
from validibot.engines.basic.values import (
    Unfit,
    equal,
    kind_of,
    matcher,
    moment,
    number,
    plain,
    shown,
    text,
)

TYPES = ("text", "number", "integer", "boolean", "object", "list", "null")
MAX_ITEMS = 10_000


class ValueKind(StrEnum):
    """The kind of value that an operator needs in a rule; the editor shows a field for it."""

    NONE = "none"
    ANY = "any"
    NUMBER = "number"
    COUNT = "count"
    RANGE = "range"
    TEXT = "text"
    PATTERN = "pattern"
    LIST = "list"
    DATE = "date"
    TYPE = "type"
    ORDER = "order"
    PATH = "path"
    NUMBER_OR_PATH = "number_or_path"


type Test = Callable[[Any, Any, bool], bool]


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator. One without a `test` looks at places or at all values together.

    A test has the arguments value, value of the rule, and whether the document is all text.
    """

    name: str
    title: str
    must: str
    kind: ValueKind
    test: Test | None = None
    example: Any = None

    def phrase(self, expected: Any, *, from_text: bool = False) -> str:
        """Return the end of the sentence "it must …" with the value of a rule."""
        if self.kind is ValueKind.RANGE:
            return self.must.format(*expected)
        if self.kind in (ValueKind.LIST, ValueKind.ANY) and isinstance(expected, list):
            listed = ", ".join(shown(each, from_text=from_text) for each in expected[:10])
            return self.must.format(listed + (", …" if len(expected) > 10 else ""))
        is_text = self.kind in (ValueKind.ANY, ValueKind.TEXT) and isinstance(expected, str)
        value = shown(expected, from_text=False) if is_text or expected is None else expected
        return self.must.format(str(value).lower() if isinstance(value, bool) else value)


def _compare(holds: Callable[[Decimal, Decimal], bool]) -> Test:
    return lambda value, expected, from_text: holds(
        number(value, from_text=from_text), Decimal(str(expected))
    )


def _in_time(holds: Callable[[Any, Any], bool]) -> Test:
    return lambda value, expected, _: holds(moment(value), moment(expected))


def _in_range(value: Any, expected: Any, from_text: bool) -> bool:
    low, high = (Decimal(str(each)) for each in expected)
    return low <= number(value, from_text=from_text) <= high


def _is_multiple(value: Any, expected: Any, from_text: bool) -> bool:
    found, unit = number(value, from_text=from_text), Decimal(str(expected))
    if found.adjusted() - unit.adjusted() > 27:
        raise Unfit(f"small enough to be divided by {expected}")
    return found % unit == 0


def _decimals(value: Any, expected: Any, from_text: bool) -> bool:
    exponent = number(value, from_text=from_text).normalize().as_tuple().exponent
    return isinstance(exponent, int) and -exponent <= int(expected)


def _size(holds: Callable[[int, int], bool]) -> Test:
    def test(value: Any, expected: Any, _: bool) -> bool:
        if isinstance(value, str | list):
            return holds(len(value), int(expected))
        raise Unfit("a text or a list")

    return test


def _contains(value: Any, expected: Any, from_text: bool) -> bool:
    if isinstance(value, list):
        return any(equal(plain(each), expected, from_text=from_text) for each in value)
    return str(expected) in text(value)


def _matches(keyword: str, fixed: str = "") -> Test:
    return lambda value, expected, _: matcher(keyword, fixed or str(expected)).is_valid(text(value))


def _is_url(value: Any, _: Any, __: bool) -> bool:
    try:
        parts = urlsplit(text(value))
    except ValueError:
        return False
    is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    return is_web and matcher("format", "iri").is_valid(value)


def _is_ip(value: Any, _: Any, __: bool) -> bool:
    return any(matcher("format", name).is_valid(text(value)) for name in ("ipv4", "ipv6"))


def _only_keys(value: Any, expected: Any, _: bool) -> bool:
    if not isinstance(value, dict):
        raise Unfit("an object")
    return set(value) <= {str(each) for each in expected}


def _not(test: Test) -> Test:
    return lambda value, expected, from_text: not test(value, expected, from_text)


def _equal(value: Any, expected: Any, from_text: bool) -> bool:
    return equal(value, expected, from_text=from_text)


def _in(value: Any, expected: Any, from_text: bool) -> bool:
    return any(equal(value, each, from_text=from_text) for each in expected)


def _empty(value: Any, _: Any, __: bool) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not len(value))


def _starts(value: Any, expected: Any, _: bool) -> bool:
    return text(value).startswith(str(expected))


def _ends(value: Any, expected: Any, _: bool) -> bool:
    return text(value).endswith(str(expected))


def _type(value: Any, expected: Any, from_text: bool) -> bool:
    return expected in kind_of(value, from_text=from_text)


_less, _more = _compare(lambda a, b: a < b), _compare(lambda a, b: a > b)
_most, _least = _compare(lambda a, b: a <= b), _compare(lambda a, b: a >= b)
_email = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")


def _is_email(value: Any, expected: Any, from_text: bool) -> bool:
    return bool(_email.fullmatch(text(value))) and matcher("format", "email").is_valid(value)


_K = ValueKind
_ALL = (
    Operator("required", "is required", "be there and not be empty", _K.NONE),
    Operator("absent", "must be absent", "not be there", _K.NONE),
    Operator("not_empty", "is not empty", "not be empty", _K.NONE, _not(_empty)),
    Operator("type", "has the type", "be of type {}", _K.TYPE, _type, "number"),
    Operator("equals", "equals", "be {}", _K.ANY, _equal, "EUR"),
    Operator("not_equals", "does not equal", "not be {}", _K.ANY, _not(_equal), "unknown"),
    Operator("one_of", "is one of", "be one of: {}", _K.LIST, _in, ["EUR", "CHF"]),
    Operator("not_in", "is none of", "not be one of: {}", _K.LIST, _not(_in), ["n/a", "tbd"]),
    Operator("min", "is at least", "be at least {}", _K.NUMBER, _least, 0),
    Operator("max", "is at most", "be at most {}", _K.NUMBER, _most, 100),
    Operator("greater_than", "is greater than", "be greater than {}", _K.NUMBER, _more, 0),
    Operator("less_than", "is less than", "be less than {}", _K.NUMBER, _less, 100),
    Operator("range", "is between", "be between {} and {}", _K.RANGE, _in_range, [0, 100]),
    Operator("multiple_of", "is a multiple of", "be a multiple of {}", _K.NUMBER, _is_multiple, 5),
    Operator("decimals", "has at most this many decimals", "have at most {} decimals", _K.COUNT, _decimals, 2),
    Operator("length", "has the length", "have the length {}", _K.COUNT, _size(lambda a, b: a == b), 8),
    Operator("min_length", "has at least the length", "have at least the length {}", _K.COUNT, _size(lambda a, b: a >= b), 1),
    Operator("max_length", "has at most the length", "have at most the length {}", _K.COUNT, _size(lambda a, b: a <= b), 100),
    Operator("pattern", "matches the pattern", "match the pattern {}", _K.PATTERN, _matches("pattern"), "[A-Z]{2}-[0-9]{4}"),
    Operator("not_pattern", "does not match the pattern", "not match the pattern {}", _K.PATTERN, _not(_matches("pattern")), "test.*"),
    Operator("contains", "contains", "contain {}", _K.ANY, _contains, "kWh"),
    Operator("not_contains", "does not contain", "not contain {}", _K.ANY, _not(_contains), "TODO"),
    Operator("starts_with", "starts with", "start with {}", _K.TEXT, _starts, "CH"),
    Operator("ends_with", "ends with", "end with {}", _K.TEXT, _ends, ".csv"),
    Operator("is_email", "is an email address", "be an email address", _K.NONE, _is_email),
    Operator("is_url", "is a web address", "be a web address such as https://example.org/a", _K.NONE, _is_url),
    Operator("is_uuid", "is a UUID", "be a UUID", _K.NONE, _matches("format", "uuid")),
    Operator("is_date", "is a date", "be a date such as 2026-01-31", _K.NONE, _matches("format", "date")),
    Operator("is_datetime", "is a date with time", "be a time such as 2026-01-31T12:00:00Z", _K.NONE, _matches("format", "date-time")),
    Operator("is_ip", "is an IP address", "be an IP address", _K.NONE, _is_ip),
    Operator("before", "is before", "be before {}", _K.DATE, _in_time(lambda a, b: a < b), "2030-01-01"),
    Operator("after", "is after", "be after {}", _K.DATE, _in_time(lambda a, b: a > b), "2000-01-01"),
    Operator("on_or_before", "is on or before", "be on or before {}", _K.DATE, _in_time(lambda a, b: a <= b), "2029-12-31"),
    Operator("on_or_after", "is on or after", "be on or after {}", _K.DATE, _in_time(lambda a, b: a >= b), "2000-01-01"),
    Operator("equals_field", "equals the field", "equal `{}`", _K.PATH, _equal, "confirmed_name"),
    Operator("not_equals_field", "differs from the field", "differ from `{}`", _K.PATH, _not(_equal), "previous_name"),
    Operator("min_field", "is at least the field", "be at least `{}`", _K.PATH, _least, "minimum"),
    Operator("max_field", "is at most the field", "be at most `{}`", _K.PATH, _most, "maximum"),
    Operator("greater_than_field", "is greater than the field", "be greater than `{}`", _K.PATH, _more, "minimum"),
    Operator("less_than_field", "is less than the field", "be less than `{}`", _K.PATH, _less, "maximum"),
    Operator("before_field", "is before the field", "be before `{}`", _K.PATH, _in_time(lambda a, b: a < b), "end"),
    Operator("after_field", "is after the field", "be after `{}`", _K.PATH, _in_time(lambda a, b: a > b), "start"),
    Operator("only_keys", "has only the members", "have only the members {}", _K.LIST, _only_keys, ["id", "name"]),
    Operator("unique", "is unique", "be unique", _K.NONE),
    Operator("sorted", "is sorted", "be sorted {}", _K.ORDER, example="ascending"),
    Operator("count", "there are exactly", "be {} of them", _K.COUNT, example=12),
    Operator("min_count", "there are at least", "be at least {} of them", _K.COUNT, example=1),
    Operator("max_count", "there are at most", "be at most {} of them", _K.COUNT, example=100),
    Operator("sum", "add up to", "be {}", _K.NUMBER_OR_PATH, example="total"),
    Operator("min_sum", "add up to at least", "be at least {}", _K.NUMBER_OR_PATH, example=0),
    Operator("max_sum", "add up to at most", "be at most {}", _K.NUMBER_OR_PATH, example=100),
)  # fmt: skip
OPERATORS: Mapping[str, Operator] = {each.name: each for each in _ALL}


def check_value(operator: Operator, value: Any) -> None:
    """Raise ValueError, naming the value, if it does not fit the operator of a rule."""
    wrong = _CHECKS[operator.kind](value)
    if wrong:
        example = f"; for example {echo(operator.example)}" if operator.example is not None else ""
        raise ValueError(f"The value of `{operator.name}` is {echo(value)}; {wrong}{example}.")


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _wrong_pattern(value: Any) -> str:
    if not isinstance(value, str):
        return "it must be a regular expression"
    try:
        matcher("pattern", value)
    except ValueError:
        return "it is no regular expression (without look-around and back references)"
    return ""


def _wrong_date(value: Any) -> str:
    try:
        moment(value)
    except Unfit:
        return "it must be a date or a date with time"
    return ""


def _wrong_path(value: Any) -> str:
    if not isinstance(value, str):
        return "it must be the path of a field"
    parse_path(value)
    return ""


def _wrong_range(value: Any) -> str:
    is_pair = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    return (
        "" if is_pair and value[0] <= value[1] else "it must be two numbers, the smaller one first"
    )


def _wrong_list(value: Any) -> str:
    is_list = isinstance(value, list) and 0 < len(value) <= MAX_ITEMS
    return "" if is_list else f"it must be a list with 1 to {MAX_ITEMS} items"


_CHECKS: Mapping[ValueKind, Callable[[Any], str]] = {
    _K.NONE: lambda value: "" if value is None else "this operator has none",
    _K.ANY: lambda value: (
        "it must be a number, text, truth value or null" if isinstance(value, dict | list) else ""
    ),
    _K.NUMBER: lambda value: "" if _is_number(value) else "it must be a number",
    _K.COUNT: lambda value: (
        ""
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0
        else "it must be a whole number that is not negative"
    ),
    _K.RANGE: _wrong_range,
    _K.TEXT: lambda value: "" if isinstance(value, str) and value else "it must be a text",
    _K.PATTERN: _wrong_pattern,
    _K.LIST: _wrong_list,
    _K.DATE: _wrong_date,
    _K.TYPE: lambda value: "" if value in TYPES else f"it must be one of: {', '.join(TYPES)}",
    _K.ORDER: lambda value: (
        "" if value in ("ascending", "descending") else "it must be ascending or descending"
    ),
    _K.PATH: _wrong_path,
    _K.NUMBER_OR_PATH: lambda value: "" if _is_number(value) else _wrong_path(value),
}
