"""What one check found, and what mends it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """`warn` leaves something unproved, `fail` is in the way."""

    name: str
    result: Literal["ok", "warn", "fail"]
    text: str
    fix: str = ""
