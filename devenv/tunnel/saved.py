"""Requests that passed the gate, saved in files for inspection and replay."""

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from devenv.tunnel.config import PATH

KEPT = 200
_LARGEST = 1024 * 1024
_SECRET = ("authorization",)
_KEY = re.compile(r"[0-9A-Za-z-]{1,64}")
_NAME = re.compile(rf"\d{{8}}T\d{{6}}\.\d{{6}}-(?:{_KEY.pattern})?\.json")


class Unreadable(Exception):
    """The file is not a saved request; the message says why."""


@dataclass(frozen=True, slots=True)
class SavedRequest:
    """A POST request. `caller` is the account of its token, which is never written."""

    path: str
    caller: str
    body: str
    received: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class SavedRequests:
    """The saved requests below a folder that only its owner reads; the oldest are dropped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, request: SavedRequest, *, member: str, now: float) -> Path:
        """Save a request, to be found by the value of a member of its JSON. Raises OSError."""
        moment = time.gmtime(now)
        told = {name: value for name, value in request.headers.items() if name not in _SECRET}
        received = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
        saved = replace(request, headers=told, received=received)
        stamp = f"{time.strftime('%Y%m%dT%H%M%S', moment)}.{int(now % 1 * 1e6):06d}"
        file = self._folder / f"{stamp}-{_key(request.body, member)}.json"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(file, json.dumps(asdict(saved), indent=2) + "\n")
        for old in self._files()[:-KEPT]:
            old.unlink(missing_ok=True)
        return file

    def latest(self, key: str) -> Path | None:
        """Return the newest file with a key."""
        found = [file for file in self._files() if file.stem.partition("-")[2] == key]
        return found[-1] if found else None

    def _files(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return sorted(file for file in self._folder.iterdir() if _NAME.fullmatch(file.name))

    @staticmethod
    def _write(file: Path, text: str) -> None:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(text)


def load(file: Path) -> SavedRequest:
    """Read a saved request. Raises Unreadable."""
    try:
        if file.stat().st_size > _LARGEST:
            raise Unreadable(f"{file} is larger than {_LARGEST} bytes; a saved request is smaller.")
        data: Any = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Unreadable(f"{file}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{file} is not JSON: {error!s:.200}.") from error
    try:
        saved = SavedRequest(**data)
    except TypeError as error:
        raise Unreadable(f"{file} is not a saved request: {error!s:.200}.") from error
    texts = (saved.path, saved.caller, saved.body, saved.received)
    if not all(isinstance(text, str) for text in texts) or not isinstance(saved.headers, Mapping):
        raise Unreadable(f"{file} is not a saved request: path, caller and body must be strings.")
    # The path ends a URL to which a fresh token is sent: `@elsewhere.example/` would lead it there.
    if not re.fullmatch(PATH, saved.path):
        raise Unreadable(f"{file} has the path {saved.path!r:.100}; it must begin with a slash.")
    return saved


def _key(body: str, member: str) -> str:
    try:
        found = json.loads(body)[member]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return found if isinstance(found, str) and _KEY.fullmatch(found) else ""
