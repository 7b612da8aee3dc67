"""Values of documents as numbers, dates and texts that operators compare.

In XML and tables a value is a text, so numbers are read from it; in JSON and YAML a text is no
number. Numbers are compared as decimals, exactly as they are written.
"""

import datetime as dt
import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import jsonschema_rs

from validibot.engines.basic.documents import XmlElement, XmlText

_SHOWN = 80
_NUMBER = re.compile(r"[-+]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][-+]?\d{1,3})?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class Unfit(ValueError):
    """A value is not of the kind that an operator needs, such as "a number"."""


def plain(value: Any) -> Any:
    """Return the plain text of an element without children, any other value as it is."""
    if isinstance(value, XmlElement) and not value.has_children:
        return value.text
    # The libraries that match patterns and formats take no subclass.
    return str(value) if isinstance(value, XmlText) else value


def is_blank(value: Any) -> bool:
    """Return whether a value says nothing: null, or a text of white space."""
    return value is None or (isinstance(value, str) and not value.strip())


def number(value: Any, *, from_text: bool) -> Decimal:
    """Return a number. Raises Unfit."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(str(value))
    if from_text and isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        try:
            return Decimal(value.strip())
        except InvalidOperation:
            raise Unfit("a number") from None
    raise Unfit("a number")


def moment(value: Any) -> dt.datetime:
    """Return a date, or a date with time, as a moment; without a zone it is in UTC. Raises Unfit."""
    if not isinstance(value, str):
        raise Unfit("a date")
    try:
        # A week or a day of the year is no date for people, though it is one of ISO 8601.
        found = dt.datetime.fromisoformat(value.strip() if _DATE.match(value.strip()) else "")
    except ValueError:
        raise Unfit("a date such as 2026-01-31 or 2026-01-31T12:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def text(value: Any) -> str:
    """Return a text. Raises Unfit."""
    if isinstance(value, str):
        return value
    raise Unfit("a text")


def equal(value: Any, expected: Any, *, from_text: bool) -> bool:
    """Return whether a value equals the one of a rule: of JSON by kind, of text as it is read."""
    if from_text and isinstance(value, str) and not isinstance(expected, str):
        value = _read_as(expected, value)
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    return bool(value == expected)


def _read_as(expected: Any, value: str) -> Any:
    """Return a text as a value of the kind of `expected`, or as it is."""
    if isinstance(expected, bool):
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    if expected is None:
        return None if is_blank(value) else value
    try:
        found = number(value, from_text=True)
    except Unfit:
        return value
    return expected if found == Decimal(str(expected)) else value


def kind_of(value: Any, *, from_text: bool) -> set[str]:
    """Return the names of all types that a value has."""
    match value:
        case None:
            kinds = {"null"}
        case bool():
            kinds = {"boolean"}
        case int() | float():
            kinds = {"number", "integer"} if value == int(value) else {"number"}
        case dict():
            kinds = {"object"}
        case list():
            kinds = {"list"}
        case _:
            kinds = {"text"} | (_kinds_of_text(str(value)) if from_text else set())
    return kinds


def _kinds_of_text(value: str) -> set[str]:
    if value.strip().lower() in ("true", "false"):
        return {"boolean"}
    try:
        found = number(value, from_text=True)
    except Unfit:
        return set()
    return {"number", "integer"} if found == found.to_integral_value() else {"number"}


def shown(value: Any, *, from_text: bool) -> str:
    """Return a value for a message: texts in quotation marks, except numbers of XML and tables."""
    if isinstance(value, bool | None):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict | list):
        kind = "an object" if isinstance(value, dict) else "a list"
        return f"{kind} with {len(value)} {'members' if isinstance(value, dict) else 'items'}"
    if isinstance(value, str) and not (from_text and _NUMBER.fullmatch(value.strip())):
        return repr(value if len(value) <= _SHOWN else f"{value[: _SHOWN - 1]}…")
    return str(value)[:_SHOWN]


@lru_cache(maxsize=1024)
def matcher(keyword: str, value: str) -> jsonschema_rs.Validator:
    """Return a validator of texts: by a `pattern` without look-around, in linear time, or a `format`.

    Raises ValueError for an invalid pattern.
    """
    schema = {keyword: f"^(?:{value})$" if keyword == "pattern" else value}
    return jsonschema_rs.validator_for(
        schema, validate_formats=True, pattern_options=jsonschema_rs.RegexOptions()
    )
