"""What a person or a script sees: results on stdout, everything else on stderr, nothing elsewhere."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TextIO
from zlib import crc32

from devenv.cli.lines import readable

_RESET = "\x1b[0m"
_STYLES = {
    "bold": "\x1b[1m",
    "dim": "\x1b[2m",
    "green": "\x1b[32m",
    "yellow": "\x1b[33m",
    "red": "\x1b[31m",
}
# Calm colours that can be read on black and on white.
_SERVICE_COLOURS = tuple(f"\x1b[38;5;{number}m" for number in (67, 72, 97, 131, 136, 66, 60, 101))


@dataclass(frozen=True, slots=True)
class Output:
    """The only one that prints. With `json`, a result is one JSON document."""

    out: TextIO
    err: TextIO
    json: bool = False
    colour: bool = False

    def result(self, data: Any, text: str) -> None:
        print(json.dumps(data, indent=2) if self.json else text, file=self.out, flush=True)

    def say(self, text: str = "") -> None:
        print(text, file=self.err, flush=True)

    def success(self, text: str) -> None:
        self.say(f"  {self.style('✓', 'green')} {text}")

    def warn(self, text: str) -> None:
        self.say(f"  {self.style('!', 'yellow')} {text}")

    def fail(self, text: str, *, hint: str = "") -> None:
        self.say(f"  {self.style('✗', 'red')} {text}")
        if hint:
            self.say(f"    Next: {self.style(hint, 'bold')}")

    def log(self, service: str, line: str, *, width: int) -> None:
        """Print a line of a service's log on stderr, with the service's name and colour."""
        print(self.labelled(service, line, width=width), file=self.err, flush=True)

    def labelled(self, service: str, line: str, *, width: int) -> str:
        label = f"{service:<{width}} │"
        if self.colour:
            colour = _SERVICE_COLOURS[crc32(service.encode()) % len(_SERVICE_COLOURS)]
            label = f"{colour}{label}{_RESET}"
        return "\n".join(f"{label} {one}" for one in readable(line, self.style))

    def style(self, text: str, name: str) -> str:
        return f"{_STYLES[name]}{text}{_RESET}" if self.colour else text


def columns(rows: Iterable[tuple[str, ...]], *, indent: int = 2) -> str:
    """Align the cells of rows below each other."""
    rows = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = (
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(" " * indent + line for line in lines)
