"""Where the tunnel leads from, in a file: how web, worker and other commands learn the public URL."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Published:
    """An open tunnel: its public origin, and the process that keeps it and its gate."""

    url: str
    provider: str
    pid: int

    def is_alive(self) -> bool:
        """Say whether that process still lives: one that was killed leaves its file behind."""
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True


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
        return Published(**data)
    except (OSError, ValueError, TypeError):
        return None


def withdraw(path: Path) -> None:
    path.unlink(missing_ok=True)
