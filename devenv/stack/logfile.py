"""Log files of bounded size, and reading them from the end or from a time on.

Lines are kept as services write them. Beside `web.log`, `web.times` has lines `SECONDS OFFSET`: the
offset at which the first line of a second (Unix time) begins.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path

LARGEST = 5 * 1024 * 1024
_PAUSE = 0.2


class LogLevel(StrEnum):
    """Severity of a log line, in rising order."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return list(LogLevel).index(self)


class LogFile:
    """Appender of lines; at LARGEST bytes the file is renamed to `<name>.1` and begun anew."""

    def __init__(
        self, path: Path, *, largest: int = LARGEST, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._largest = largest
        self._clock = clock
        self._second = 0
        self._open()

    def write(self, line: str) -> None:
        if self._file.tell() > self._largest:
            self.close()
            for path in (self._path, _times(self._path)):
                path.replace(_older(path))
            self._open()
        if (second := int(self._clock())) != self._second:
            self._second = second
            self._times.write(f"{second} {self._file.tell()}\n")
        self._file.write(line + "\n")

    def close(self) -> None:
        self._file.close()
        self._times.close()

    def _open(self) -> None:
        self._file = _append(self._path)
        self._times = _append(_times(self._path))
        self._second = 0


def _append(path: Path) -> TextIOWrapper:
    return path.open("a", encoding="utf-8", buffering=1)


def _times(path: Path) -> Path:
    return path.with_suffix(".times")


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".1")


def tail(path: Path, count: int) -> list[str]:
    """Return the last `count` lines."""
    return list(deque(read(path), maxlen=count))


def read(path: Path, *, since: float = 0.0) -> Iterator[str]:
    """Yield the lines that were written at `since` (Unix time) or later; by default those of now.

    Without `since`, only the present file is read; with it, the one before, too.
    """
    if since:
        yield from _lines(_older(path), _offset(_older(_times(path)), since))
    yield from _lines(path, _offset(_times(path), since) if since else 0)


def _lines(path: Path, offset: int | None) -> Iterator[str]:
    if offset is None or not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        file.seek(offset)
        for line in file:
            yield line.rstrip("\n")


def _offset(times: Path, since: float) -> int | None:
    """Return where the lines since a time begin, or None if there are none."""
    if not times.exists():
        return None
    for line in times.read_text().splitlines():
        second, _, offset = line.partition(" ")
        if offset and int(second) >= int(since):
            return int(offset)
    return None


class Follower:
    """Reader of lines that are appended to a file, also after a rotation."""

    def __init__(self, path: Path, *, at: int | None = None) -> None:
        """Begin at this offset, by default at the present end of the file."""
        self._path = path
        self._position = size(path) if at is None else at

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


def size(path: Path) -> int:
    """Return the bytes of a log, 0 while there is none."""
    return path.stat().st_size if path.exists() else 0


def pause() -> None:
    """Wait before new lines are looked for again."""
    time.sleep(_PAUSE)
