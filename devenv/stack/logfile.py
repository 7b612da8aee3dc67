"""Log files of bounded size, and reading them from the end."""

import time
from collections import deque
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

LARGEST = 5 * 1024 * 1024
_PAUSE = 0.2


class LogFile:
    """Appender of lines; at LARGEST bytes the file is renamed to `<name>.1` and begun anew."""

    def __init__(self, path: Path, *, largest: int = LARGEST) -> None:
        self._path = path
        self._largest = largest
        self._file = self._open()

    def write(self, line: str) -> None:
        if self._file.tell() > self._largest:
            self._file.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._file = self._open()
        self._file.write(line + "\n")

    def close(self) -> None:
        self._file.close()

    def _open(self) -> TextIOWrapper:
        return self._path.open("a", encoding="utf-8", buffering=1)


def tail(path: Path, count: int) -> list[str]:
    """Return the last `count` lines."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, maxlen=count)]
    except FileNotFoundError:
        return []


class Follower:
    """Reader of lines that are appended to a file, also after a rotation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0

    def new_lines(self) -> Iterator[str]:
        if not self._path.exists():
            return
        if self._path.stat().st_size < self._position:
            self._position = 0
        with self._path.open(encoding="utf-8", errors="replace") as file:
            file.seek(self._position)
            for line in iter(file.readline, ""):
                if not line.endswith("\n"):
                    break
                self._position += len(line.encode("utf-8", "replace"))
                yield line.rstrip("\n")


def pause() -> None:
    """Wait before new lines are looked for again."""
    time.sleep(_PAUSE)
