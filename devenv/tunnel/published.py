"""The public URL of the open tunnel, in a file that web, worker and the command line read."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devenv.stack.process import send_signal


@dataclass(frozen=True, slots=True)
class Published:
    """An open tunnel: its public origin, and the process that keeps it and its gate."""

    url: str
    provider: str
    pid: int

    def is_alive(self) -> bool:
        """Return whether that process still lives: one that was killed leaves its file behind."""
        return self.pid > 1 and send_signal(self.pid, 0)


def file_in(state: Path) -> Path:
    return state / "tunnel" / "open.json"


def publish(path: Path, published: Published) -> None:
    """Replace the file in one step: a reader sees the old or the new, never half."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(asdict(published)) + "\n")
    draft.replace(path)


def read(path: Path) -> Published | None:
    """Return the tunnel that is open, or was when its process was killed."""
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        found = Published(**data)
    except (OSError, ValueError, TypeError):
        return None
    return found if type(found.pid) is int else None


def withdraw(path: Path) -> None:
    path.unlink(missing_ok=True)
