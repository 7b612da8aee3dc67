"""Problems of a stack: exceptions that name the next command, and the results of checks."""

from dataclasses import dataclass
from typing import Literal


class StackError(Exception):
    """A failure that the user can act on: `message` says what happened, `hint` is a command."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class AlreadyRunning(StackError):
    """Another supervisor holds the lock of this folder."""


class StateUnreadable(StackError):
    """The state file exists, but is not what `statefile.write` writes."""


class ServiceFailed(StackError):
    """A service ended too often before it was healthy for the first time."""

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
