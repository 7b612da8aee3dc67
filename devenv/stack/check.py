"""What a check finds."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """`warn` is in somebody's way, `fail` in everybody's; whatever is not ok has a `fix`."""

    name: str
    result: Literal["ok", "warn", "fail"]
    text: str
    fix: str = ""
