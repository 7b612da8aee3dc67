"""Output of a process: from its log file to the emulator's log and to those who keep lines."""

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from devenv.gcp.run_jobs.runtimes.base import (
    LONGEST_LINE,
    LONGEST_SHOWN,
    OutputLine,
    OutputStream,
)

log = logging.getLogger("devenv.gcp.run_jobs.output")

_CHUNK = 65536


class LogFollower:
    """Reads what is appended to a log file each time its bell, a named pipe in `folder`, rings.

    Lines go to the emulator's log, and with the stream that they come from to `on_lines`.
    """

    def __init__(
        self,
        path: Path,
        folder: Path,
        *,
        prefix: str,
        on_lines: Callable[[Sequence[OutputLine]], object],
        skip: int = 0,
    ) -> None:
        self._path = path
        self._streams = folder / "streams"
        self._at = self._line_at = skip
        self._rest = b""
        self._stream = OutputStream.STDOUT
        self._changes: deque[tuple[int, OutputStream]] = deque()  # those that are still to come
        self._changes_at = 0
        self._prefix = prefix
        self._on_lines = on_lines
        self._loop = asyncio.get_running_loop()
        # Opened for writing too, so that it stays open when a writer goes.
        self._bell = os.open(folder / "bell", os.O_RDWR | os.O_NONBLOCK)
        self._loop.add_reader(self._bell, self._rung)

    def close(self) -> None:
        """Show what is left and stop."""
        self._loop.remove_reader(self._bell)
        os.close(self._bell)
        while self._read():
            pass
        self._show([self._rest])

    def _rung(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell, _CHUNK)
        if self._read():  # more is there; let others have their turn before
            with contextlib.suppress(BlockingIOError):
                os.write(self._bell, b".")

    def _read(self) -> bool:
        """Show the next piece; return whether there may be more."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read(_CHUNK)
        except FileNotFoundError:
            return False
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._show(lines)
        while len(self._rest) >= LONGEST_LINE:
            self._show([self._rest[:LONGEST_LINE]])
            self._line_at -= 1  # it has no end
            self._rest = self._rest[LONGEST_LINE:]
        return len(data) == _CHUNK

    def _show(self, lines: Sequence[bytes]) -> None:
        self._read_changes()
        shown = []
        for line in lines:
            while self._changes and self._changes[0][0] <= self._line_at:
                self._stream = self._changes.popleft()[1]
            for start in range(0, len(line), LONGEST_LINE):
                text = line[start : start + LONGEST_LINE].decode(errors="replace")
                log.info("%s | %s", self._prefix, text[:LONGEST_SHOWN])
                shown.append((self._stream, text))
            self._line_at += len(line) + 1
        if shown:
            self._on_lines(shown)

    def _read_changes(self) -> None:
        """Read on where in the log another stream begins."""
        with contextlib.suppress(FileNotFoundError), self._streams.open("rb") as file:
            file.seek(self._changes_at)
            whole, end, _ = file.read().rpartition(b"\n")
            self._changes_at += len(whole + end)
            for row in whole.split(b"\n") if whole else ():
                offset, stream = row.decode().split()
                self._changes.append((int(offset), OutputStream(stream)))
