"""Makes values fit for CEL, which takes no Decimal, no date, no NUL and no integer beyond 64 bits."""

import json
from collections.abc import Mapping, Set as AbstractSet
from datetime import date, time
from typing import Any

from validibot.engines.json_text import JSON, MAX_DEPTH

MAX_CHARACTERS = 32 * 1024 * 1024
_INT64 = range(-(2**63), 2**63)
_SHOWN = 200


class ScopeTooLarge(Exception):
    """What the expressions would see is too deep or too big."""


class Converter:
    """Copies values into what CEL accepts, and adds up how much that is."""

    def __init__(self) -> None:
        self.size = 0

    def convert(self, value: Any, *, depth: int = 0) -> JSON:
        if depth > MAX_DEPTH:
            raise ScopeTooLarge(f"The values are nested deeper than {MAX_DEPTH} levels.")
        self._count(1)
        match value:
            case None | bool() | float():
                return value
            case int() | str():
                return self._scalar(value)
            case Mapping():
                return {
                    self._text(str(key)): self.convert(item, depth=depth + 1)
                    for key, item in value.items()
                }
            case list() | tuple() | AbstractSet():
                return [self.convert(item, depth=depth + 1) for item in value]
        return self._other(value)

    def _scalar(self, value: int | str) -> JSON:
        if isinstance(value, str):
            return self._text(value)
        return value if value in _INT64 else _as_float(value)

    def _text(self, text: str) -> str:
        self._count(len(text))
        return text.replace("\0", "�") if "\0" in text else text

    def _other(self, value: Any) -> JSON:
        """A date is its ISO text, a Decimal a number, and whatever else its text."""
        if isinstance(value, date | time):
            return value.isoformat()
        try:
            return float(value)
        except (TypeError, ValueError):
            return self._text(str(value))

    def _count(self, characters: int) -> None:
        self.size += characters
        if self.size > MAX_CHARACTERS:
            raise ScopeTooLarge(f"The values have more than {MAX_CHARACTERS} characters.")


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def shown(value: Any) -> str:
    """Write a value for people to read within a message."""
    match value:
        case str():
            text = value
        case bool() | None:
            text = json.dumps(value)
        case float():
            text = _number(value)
        case list() | dict():
            text = json.dumps(value, ensure_ascii=False, default=str)
        case _:
            text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _number(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e15:
        return f"{value:.4g}"
    return f"{value:.4f}".rstrip("0").rstrip(".")
