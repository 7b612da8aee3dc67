"""Problems of a stack: exceptions that name the next command, results of checks, broken code."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)')
_ERROR = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Configured|Exit)?(?:: .*)?$")
_LINES_AFTER_TRACEBACK = 5


class StackError(Exception):
    """A failure that the user can act on: `message` says what happened, `hint` is a command."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageProblem(StackError):
    """An option or argument that cannot be used."""


class AlreadyRunning(StackError):
    """Another supervisor holds the lock of this folder."""


class StateUnreadable(StackError):
    """The state file exists, but is not what `statefile.write` writes."""


class ServiceFailed(StackError):
    """A service ended too often before it was known to work."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"{service} {reason}", hint=f"make logs S={service}")
        self.service = service


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check of `doctor` or of a preflight.

    `warn` may get in the way, `fail` does; a result that is not `ok` has a `fix`, a command or an
    instruction.
    """

    name: str
    result: Literal["ok", "warn", "fail"]
    text: str
    fix: str = ""


def syntax_error(folder: Path, path: str) -> str:
    """Return why a Python file below `folder` cannot be parsed: `FILE:LINE SyntaxError: ...`.

    Returns "" for files that can be, that do not exist or are not Python.
    """
    if not path.endswith(".py"):
        return ""
    try:
        compile((folder / path).read_bytes(), path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return f"{path}:{error.lineno or 1} {type(error).__name__}: {error.msg}"
    except (OSError, ValueError):
        return ""
    return ""


def last_error(lines: Iterable[str], *, folder: Path) -> str:
    """Return the error of a traceback at the end of a log, as `FILE:LINE ERROR`, or "".

    The place is the last one below `folder` that is not a package's.
    """
    lines = list(lines)
    frames = [(at, found) for at, line in enumerate(lines) if (found := _FRAME.match(line))]
    if not frames:
        return ""
    after = ((at, line) for at, line in enumerate(lines) if at > frames[-1][0])
    found_at, error = next(((at, line) for at, line in after if _ERROR.match(line)), (0, ""))
    if not error or len(lines) - 1 - found_at > _LINES_AFTER_TRACEBACK:
        return ""
    ours = [found for _, found in frames if _is_ours(Path(found["file"]), folder)]
    place = (ours or [frames[-1][1]])[-1]
    file = Path(place["file"])
    shown = file.relative_to(folder) if file.is_relative_to(folder) else file
    return f"{shown}:{place['line']} {error}"


def _is_ours(file: Path, folder: Path) -> bool:
    return file.is_relative_to(folder) and "site-packages" not in file.parts
