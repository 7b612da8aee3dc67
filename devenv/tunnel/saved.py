"""Callbacks that passed the gate, saved in files for inspection and replay."""

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from devenv.tunnel.doors import CALLBACKS

KEPT = 200
_LARGEST = 1024 * 1024
_SECRET = ("authorization",)
_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}-[0-9a-f-]{0,36}\.json")


class Unreadable(Exception):
    """The file is not a saved callback; the message says why."""


@dataclass(frozen=True, slots=True)
class SavedCallback:
    """A callback. `caller` is the account of its token, which is never written."""

    path: str
    caller: str
    body: str
    received: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        return _run_id(self.body.encode())


class Callbacks:
    """The saved callbacks below a folder that only its owner reads; the oldest are dropped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(
        self, path: str, body: bytes, *, caller: str, fields: list[tuple[str, str]], now: float
    ) -> Path:
        moment = time.gmtime(now)
        saved = SavedCallback(
            path=path,
            caller=caller,
            body=body.decode("utf-8", "replace"),
            received=time.strftime("%Y-%m-%dT%H:%M:%SZ", moment),
            headers={name: value for name, value in fields if name not in _SECRET},
        )
        stamp = f"{time.strftime('%Y%m%dT%H%M%S', moment)}.{int(now % 1 * 1e6):06d}"
        file = self._folder / f"{stamp}-{saved.run_id}.json"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(file, json.dumps(asdict(saved), indent=2) + "\n")
        for old in self._files()[:-KEPT]:
            old.unlink(missing_ok=True)
        return file

    def latest(self, run_id: str) -> Path | None:
        """Return the newest file of a run."""
        found = [file for file in self._files() if file.stem.endswith(f"-{run_id}")]
        return found[-1] if found else None

    def _files(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return sorted(file for file in self._folder.iterdir() if _NAME.fullmatch(file.name))

    @staticmethod
    def _write(file: Path, text: str) -> None:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(text)


def load(file: Path) -> SavedCallback:
    """Read a saved callback. Raises Unreadable."""
    try:
        if file.stat().st_size > _LARGEST:
            raise Unreadable(f"{file} is larger than {_LARGEST} bytes; a callback is small.")
        data: Any = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Unreadable(f"{file}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{file} is not JSON: {error!s:.200}.") from error
    try:
        saved = SavedCallback(**data)
    except TypeError as error:
        raise Unreadable(f"{file} is not a saved callback: {error!s:.200}.") from error
    texts = (saved.path, saved.caller, saved.body, saved.received)
    if not all(isinstance(text, str) for text in texts) or not isinstance(saved.headers, Mapping):
        raise Unreadable(f"{file} is not a saved callback: path, caller and body must be strings.")
    # The path ends a URL to which a fresh token is sent: `@elsewhere.example/` would lead it there.
    if saved.path != CALLBACKS:
        raise Unreadable(f"{file} was posted to {saved.path!r:.100}; callbacks go to {CALLBACKS}.")
    return saved


def _run_id(body: bytes) -> str:
    try:
        found = json.loads(body)["run_id"]
        return str(UUID(found))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
