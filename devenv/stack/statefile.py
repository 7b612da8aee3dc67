"""What runs, in a file: how `status`, `down` and other programs find what `up` started."""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from devenv.stack.errors import AlreadyRunning

type Phase = Literal["starting", "ready", "stopping", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One line of `status`."""

    state: str
    pid: int | None = None
    restarts: int = 0
    note: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StackState:
    """`ports` outlive a stop, so that the next start takes the same ones.

    `runtime` is `docker` where the whole stack runs in containers, else nothing.
    """

    phase: Phase = "stopped"
    pid: int = 0
    mode: str = ""
    jobs: str = ""
    runtime: str = ""
    error: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    debug: Mapping[str, int] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, ServiceState] = field(default_factory=dict)


def write(path: Path, state: StackState) -> None:
    """Replace the file in one step: a reader sees the old or the new, never half."""
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(state), indent=2) + "\n")
    draft.replace(path)


def read(path: Path) -> StackState:
    """Return what the file says; nothing, if it is not there or was spoilt."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        services = {name: ServiceState(**one) for name, one in data.pop("services").items()}
        return StackState(**data, services=services)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return StackState()


class Lock:
    """Held by the running supervisor; the kernel lets go of it however that one ends."""

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
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def is_running(lock: Path) -> bool:
    """Say whether a supervisor holds the lock."""
    if not lock.exists():
        return False
    try:
        with Lock(lock):
            return False
    except AlreadyRunning:
        return True
