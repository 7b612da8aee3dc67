"""Output of the command line: results on stdout, everything else on stderr.

With `--json` a result is one JSON document. Colours follow NO_COLOR, FORCE_COLOR and the terminal.
Lines are never wrapped: they are URLs, keys and commands that people copy.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO
from zlib import crc32

from rich.cells import cell_len, set_cell_size
from rich.console import Console, RenderableType
from rich.text import Text

from devenv.stack.loglines import log_entry, other_fields

_CONSOLE_WIDTH = 10_000
_AGAIN = " Ctrl-C again kills at once."
_SEVERITY_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
# Colours that can be read on black and on white.
_SERVICE_COLOURS = (67, 72, 97, 131, 136, 66, 60, 101)


@dataclass(frozen=True, slots=True)
class CliOutput:
    """The only printer of the command line."""

    out: TextIO
    err: TextIO
    json: bool = False
    colour: bool = False
    make: bool = True  # whether this folder has a Makefile with our short commands
    width: int = 8  # of the names of services
    _out: Console = field(init=False)
    _err: Console = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_out", self._console(self.out))
        object.__setattr__(self, "_err", self._console(self.err))

    def _console(self, file: TextIO) -> Console:
        return Console(
            file=file,
            width=_CONSOLE_WIDTH,
            force_terminal=self.colour,
            no_color=not self.colour,
            color_system="256" if self.colour else None,
            highlight=False,
            markup=False,
            emoji=False,
        )

    def result(self, data: Any, text: RenderableType) -> None:
        """Print a result: `data` as JSON, or `text` for people."""
        self._print(self._out, json.dumps(data, indent=2) if self.json else text)

    def say(self, text: str | Text = "") -> None:
        self._print(self._err, self.worded(text) if isinstance(text, str) else text)

    def worded(self, text: str) -> str:
        """Return a message with commands that work in this folder."""
        return text if self.make else without_make(text)

    def success(self, text: str) -> None:
        self.say(Text.assemble("  ", ("✓", "green"), f" {self.worded(text)}"))

    def warn(self, text: str) -> None:
        self.say(Text.assemble("  ", ("!", "yellow"), f" {self.worded(text)}"))

    def fail(self, text: str, *, hint: str = "") -> None:
        """Print what is wrong, and the next command."""
        self.say(Text.assemble("  ", ("✗", "red"), f" {self.worded(text)}"))
        if hint:
            self.say(Text.assemble("    Next: ", (self.worded(hint), "bold")))

    def stopping(self, error: str, *, by_hand: bool) -> None:
        """Say that `up` ends: because of `error`, or of a signal. `by_hand`: in a terminal."""
        kills = "" if not by_hand else " Ctrl-C kills at once." if error else _AGAIN
        self.say(f"\n  Stopping.{kills}")

    def stopped(self, error: str = "", *, command: str = "make up") -> None:
        """Say that a stack has stopped, and unless it was for an error how it starts again."""
        again = "" if error else f" {command} brings everything back."
        self.success(f"Stopped; the data stays.{again}")

    def log(self, service: str, line: str) -> None:
        """Print a line of a service's log on stderr, with the service's name and colour."""
        self.say(self.labelled(service, line))

    def labelled(self, service: str, line: str) -> Text:
        """Return a log line after its service's name."""
        colour = _SERVICE_COLOURS[crc32(service.encode()) % len(_SERVICE_COLOURS)]
        label = Text(f"{service:<{self.width}} │ ", style=f"color({colour})")
        return Text("\n").join(Text.assemble(label, one) for one in readable(line))

    @contextmanager
    def progress(self, text: str) -> Iterator[None]:
        """Show a spinner below what is printed meanwhile, on a terminal."""
        if self.colour and not self.json:
            with self._err.status(text, spinner_style="green"):
                yield
        else:
            yield

    @staticmethod
    def _print(console: Console, text: RenderableType) -> None:
        console.print(text, soft_wrap=True)
        console.file.flush()


def table(rows: Iterable[Sequence[str]]) -> Text:
    """Return rows as aligned columns.

    Not a rich table: that pads the last column, and the blanks wrap in a narrow terminal.
    """
    rows = list(rows)
    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = (
        "   ".join(set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return Text("\n".join(f"  {line}".rstrip() for line in lines))


def show_log_line(output: CliOutput, service: str, line: str, *, alone: bool) -> None:
    """Print a line of a log as a result, without the service's name if it is `alone`."""
    text = Text("\n").join(readable(line)) if alone else output.labelled(service, line)
    output.result({"service": service, "line": line}, text)


def readable(line: str) -> list[Text]:
    """Return a log line as people read it, over several lines if it has a traceback.

    A structured line (JSON with Cloud Logging's `severity` and `message`) becomes its message and
    its other fields; any other line is unchanged.
    """
    entry = log_entry(line)
    if not entry:
        return [Text(line)]
    text = Text()
    severity = entry.get("severity", "INFO")
    if severity not in ("INFO", "DEBUG"):
        text.append(severity, style=_SEVERITY_STYLES.get(severity, "bold")).append(" ")
    text.append(entry["message"])
    if fields := other_fields(entry):
        text.append("  ").append(fields, style="dim")
    return [*text.split(), *(Text(one) for one in entry.get("exception", "").splitlines())]


# Messages name the short commands of our Makefile. Most projects have none that starts devenv: there
# `make up` becomes `devenv up`.
_COMMAND = re.compile(
    r"\bmake (up|down|status|logs|run|reset|doctor|start|stop|restart)\b"
    r"((?: [A-Z]+=(?:'[^']*'|[\w./:-]*\w))*)"
)
_OPTION = re.compile(r" ([A-Z]+)=('[^']*'|\S+)")
_WORDS = {"MODE": "--mode ", "RUNTIME": "--runtime ", "JOBS": "--jobs ", "S": "", "CMD": "-- "}
_SWITCHES = {"YES": "--yes", "DETACH": "--detach", "JSON": "--json"}


def has_make(folder: Path) -> bool:
    """Return whether a folder's Makefile has the short commands."""
    try:
        return "devenv" in (folder / "Makefile").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def without_make(text: str) -> str:
    """Return a message with `devenv` in place of the commands of a Makefile."""
    return _COMMAND.sub(lambda found: f"devenv {found[1]}{_options(found[2])}", text)


def _options(text: str) -> str:
    words = (
        _SWITCHES.get(name) or f"{_WORDS.get(name, '')}{value.strip(chr(39))}"
        for name, value in _OPTION.findall(text)
    )
    return "".join(f" {word}" for word in words)
