"""The state of a stack in a file, by which `status`, `down` and other programs find it.

The lock tells whether a supervisor runs, and which process it is; both hold even when the state
file is damaged.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypeVar

from devenv.stack.problems import AlreadyRunning, StackError, StateUnreadable

_T = TypeVar("_T")

Phase: TypeAlias = Literal["starting", "ready", "paused", "stopping", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One line of `status`. `needs` are the services that it waits for; a step runs to its end."""

    state: str
    pid: int | None = None
    restarts: int = 0
    note: str = ""
    seconds: float = 0.0
    needs: tuple[str, ...] = ()
    is_step: bool = False


@dataclass(frozen=True, slots=True)
class StackState:
    """State of the stack of one folder.

    `ports` outlive a stop, so that the next start takes the same ones. `runtime` is `docker` while
    the whole stack runs in containers. `control` is the socket on which the supervisor takes
    commands. `projects` are the compose projects that `folder` has used since the last reset, the
    latest last: a copy of the folder has no right to them.
    """

    phase: Phase = "stopped"
    pid: int = 0
    mode: str = ""
    jobs: str = ""
    runtime: str = ""
    control: str = ""
    folder: str = ""
    projects: tuple[str, ...] = ()
    error: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    debug: Mapping[str, int] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, ServiceState] = field(default_factory=dict)

    def check_ready(self) -> None:
        """Raise StackError unless all services of the running stack have started."""
        if self.phase != "ready":
            raise StackError(
                f"The stack is {self.phase}; try again when it is ready.", hint="make status"
            )


def write(path: Path, state: StackState) -> None:
    """Replace the file in one step: a reader sees the old state or the new one."""
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(state), indent=2) + "\n")
    draft.replace(path)


def read(path: Path) -> StackState:
    """Return the state; an empty one where there is no file. Raises StateUnreadable.

    Fields of another version are left out.
    """
    try:
        data = json.loads(path.read_text())
        services = {
            name: _known(ServiceState, one | {"needs": tuple(one.get("needs", ()))})
            for name, one in data["services"].items()
        }
        projects = tuple(str(name) for name in data.get("projects", ()))
        state = _known(StackState, data | {"services": services, "projects": projects})
    except FileNotFoundError:
        return StackState()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StateUnreadable(f"{path} cannot be read: {_reason(error)}.") from error
    if type(state.pid) is not int or state.pid < 0:
        raise StateUnreadable(f"{path} names {state.pid!r:.40} as the supervisor's process.")
    return state


def _known(kind: type[_T], data: Mapping[str, Any]) -> _T:
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type] # a dataclass
    return kind(**{name: value for name, value in data.items() if name in names})


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"it is not the file that `up` writes ({type(error).__name__})"


class Lock:
    """Held by the running supervisor and released by the kernel however that one ends.

    The file holds the number of the process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def __enter__(self) -> Self:
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise AlreadyRunning("It already runs.", hint="make status") from error
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{os.getpid()}\n".encode())
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def is_running(lock: Path) -> bool:
    """Return whether a supervisor holds the lock."""
    try:
        file = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def lock_holder(lock: Path) -> int:
    """Return the number of the process that last took the lock, 0 if it is unknown."""
    try:
        pid = int(lock.read_text())
    except (OSError, ValueError):
        return 0
    return pid if pid > 1 else 0
