"""Values of a caller, repeated in a message."""

import reprlib
from typing import Any

_MOST_CHARACTERS = 80


class WrittenNumber(str):
    """A number of a JSON document as it was written: a double would be `inf` from 1.8e308 on."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def echo(value: Any, *, most: int = _MOST_CHARACTERS) -> str:
    """Return a value as Python writes it, shortened in the middle; `most` is for what must be read whole."""
    return reprlib.Repr(maxstring=most, maxother=most, fillvalue="…").repr(value)


def shortened(name: str) -> str:
    """Return a name without quotes, shortened in the middle."""
    half = _MOST_CHARACTERS // 2 - 1
    return name if len(name) <= _MOST_CHARACTERS else f"{name[:half]}…{name[-half:]}"
