"""Shows the output of a running task line by line in the emulator's own log."""

import asyncio
import contextlib
import logging
import os
from pathlib import Path

log = logging.getLogger("devenv.gcp.run_jobs.output")

_CHUNK = 65536
_LONGEST_LINE = 16384


class Follower:
    """Reads what is appended to a log file each time its bell, a named pipe, rings."""

    def __init__(self, path: Path, bell: Path, *, prefix: str, skip: int = 0) -> None:
        self._path = path
        self._at = skip
        self._rest = b""
        self._prefix = prefix
        self._loop = asyncio.get_running_loop()
        # Opened for writing too, so that it stays open when a writer goes.
        self._bell = os.open(bell, os.O_RDWR | os.O_NONBLOCK)
        self._loop.add_reader(self._bell, self._rung)

    def close(self) -> None:
        """Show what is left and stop."""
        self._loop.remove_reader(self._bell)
        os.close(self._bell)
        while self._read():
            pass
        self._show(self._rest)

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
        for line in lines:
            self._show(line)
        if len(self._rest) > _LONGEST_LINE:
            self._show(self._rest)
            self._rest = b""
        return len(data) == _CHUNK

    def _show(self, line: bytes) -> None:
        if line:
            log.info("%s | %s", self._prefix, line[:_LONGEST_LINE].decode(errors="replace"))
