"""Output of a process: from its log file to the emulator's log and to those who keep lines."""

import asyncio
import contextlib
import logging
import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path

from devenv.gcp.run_jobs.runtimes.base import OutputLine, OutputStream

log = logging.getLogger("devenv.gcp.run_jobs.output")

_CHUNK = 65536
_LONGEST_LINE = 16384


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
        if len(self._rest) > _LONGEST_LINE:
            self._show([self._rest])
            self._line_at -= 1  # it has no end
            self._rest = b""
        return len(data) == _CHUNK

    def _show(self, lines: Sequence[bytes]) -> None:
        changes = self._changes() if any(lines) else []
        shown = []
        for line in lines:
            if line:
                text = line[:_LONGEST_LINE].decode(errors="replace")
                log.info("%s | %s", self._prefix, text)
                last = bisect_right(changes, self._line_at, key=lambda change: change[0])
                shown.append((changes[last - 1][1] if last else OutputStream.STDOUT, text))
            self._line_at += len(line) + 1
        if shown:
            self._on_lines(shown)

    def _changes(self) -> list[tuple[int, OutputStream]]:
        """Return where in the log another stream begins."""
        with contextlib.suppress(FileNotFoundError):
            rows = (line.split() for line in self._streams.read_text().splitlines())
            return [(int(row[0]), OutputStream(row[1])) for row in rows if len(row) == 2]
        return []
