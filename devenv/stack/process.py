"""A child process in a session of its own: its lines go to a callback, and it dies with us."""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Any

LONGEST_LINE = 16 * 1024
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_DRAIN = 65536


class Lines:
    """Cut a stream of bytes into lines; one without an end is cut at LONGEST_LINE."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *whole, rest = (self._rest + data).split(b"\n")
        while len(rest) > LONGEST_LINE:
            whole.append(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self._rest = rest
        for line in whole:
            self._write(line.decode("utf-8", "replace").rstrip("\r"))

    def close(self) -> None:
        if self._rest:
            self.feed(b"\n")


class Process:
    """A running child. Signals reach its whole group, so that it leaves nothing behind."""

    def __init__(self, child: asyncio.subprocess.Process, output: int, lines: Lines) -> None:
        self._child = child
        self._output = output
        self._lines = lines
        asyncio.get_running_loop().add_reader(output, self._drain)

    @classmethod
    async def start(
        cls,
        command: tuple[str, ...],
        *,
        environ: Mapping[str, str],
        folder: Path,
        stop_signal: Signals,
        write: Callable[[str], None],
    ) -> "Process":
        # Our own pipe: asyncio's would keep wait() from returning while a grandchild holds it.
        output, child_output = os.pipe()
        os.set_blocking(output, False)
        try:
            child = await _never_lost(
                asyncio.create_subprocess_exec(
                    *command,
                    env=environ,
                    cwd=folder,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=child_output,
                    stderr=child_output,
                    start_new_session=True,
                    preexec_fn=die_with_parent(stop_signal),
                )
            )
        except (OSError, asyncio.CancelledError):
            os.close(output)
            raise
        finally:
            os.close(child_output)
        return cls(child, output, Lines(write))

    @property
    def pid(self) -> int:
        return self._child.pid

    async def wait(self) -> int:
        """Return the exit code once the child is gone; what it left in its group is killed."""
        code = await self._child.wait()
        self.signal(SIGKILL)
        self._drain()
        self._close()
        return code

    def signal(self, number: Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def stop(self, number: Signals, *, within: float) -> None:
        """Ask politely, then kill."""
        self.signal(number)
        try:
            async with asyncio.timeout(within):
                await self.wait()
        except TimeoutError:
            self.signal(SIGKILL)
            await self.wait()

    def _drain(self) -> None:
        while self._output >= 0:
            try:
                data = os.read(self._output, _DRAIN)
            except BlockingIOError:
                return
            if not data:
                self._close()
                return
            self._lines.feed(data)

    def _close(self) -> None:
        if self._output >= 0:
            asyncio.get_running_loop().remove_reader(self._output)
            os.close(self._output)
            self._output = -1
            self._lines.close()


async def _never_lost(
    starting: Coroutine[Any, Any, asyncio.subprocess.Process],
) -> asyncio.subprocess.Process:
    """Wait for a child to start; if we are cancelled meanwhile, end it first."""
    task = asyncio.create_task(starting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        child = await task
        child.kill()
        await child.wait()
        raise


def die_with_parent(number: Signals) -> Callable[[], None] | None:
    """Return what a child does first, so that it gets `number` when we die of SIGKILL (Linux)."""
    if sys.platform != "linux":
        return None
    us = os.getpid()

    def prepare() -> None:
        ask_to_die_with_parent(number)
        if os.getppid() != us:  # it died before we could ask
            os._exit(1)

    return prepare


def ask_to_die_with_parent(number: Signals) -> None:
    """Have the kernel send us `number` when our parent dies (Linux; see prctl(2))."""
    if _LIBC:
        _LIBC.prctl(_PR_SET_PDEATHSIG, number)


def how_it_ended(code: int) -> str:
    """Say an exit code in words: `exited with 1`, `was killed by SIGKILL`."""
    if code >= 0:
        return f"exited with {code}"
    return f"was killed by {Signals(-code).name}"
