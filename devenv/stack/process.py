"""Child processes, each in a session of its own: output by lines, signals to the whole group.

A child dies with its supervisor (Linux), leaves no grandchildren behind, and its end is noticed
even while a grandchild holds its output open. Signals to processes that are known by a number only,
for example from a file, go through `send_signal`.
"""

import asyncio
import ctypes
import errno
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Any

LONGEST_LINE = 16 * 1024
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_DRAIN = 65536
_LAST_LINES = 100
_EXEC = Path(__file__).with_name("exec.py")


class LineSplitter:
    """Splits a stream of bytes into lines; a line without an end is cut at LONGEST_LINE."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._rest = b""
        self.last: deque[str] = deque(maxlen=_LAST_LINES)

    def feed(self, data: bytes) -> None:
        *whole, rest = (self._rest + data).split(b"\n")
        while len(rest) > LONGEST_LINE:
            whole.append(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self._rest = rest
        for line in whole:
            text = line.decode("utf-8", "replace").rstrip("\r")
            self.last.append(text)
            self._write(text)

    def close(self) -> None:
        if self._rest:
            self.feed(b"\n")


class Process:
    """A running child process. Signals reach its whole process group."""

    def __init__(self, child: asyncio.subprocess.Process, output: int, lines: LineSplitter) -> None:
        self._child = child
        self._output = output
        self._lines = lines
        self._ended = False
        self.last_lines = lines.last
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
        _require_program(command[0], folder, environ)
        # Our own pipe: asyncio's would keep wait() from returning while a grandchild holds it.
        output, child_output = os.pipe()
        os.set_blocking(output, False)
        try:
            child = await _start_or_end(
                asyncio.create_subprocess_exec(
                    *_dying_with_us(command, stop_signal),
                    env=environ,
                    cwd=folder,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=child_output,
                    stderr=child_output,
                    start_new_session=True,
                )
            )
        except (OSError, asyncio.CancelledError):
            os.close(output)
            raise
        finally:
            os.close(child_output)
        return cls(child, output, LineSplitter(write))

    @property
    def pid(self) -> int:
        return self._child.pid

    async def wait(self) -> int:
        """Return the exit code once the child is gone; kill the rest of its group."""
        code = await self._child.wait()
        if not self._ended:
            self.signal(SIGKILL)
            self._ended = True  # the number may belong to somebody else from now on
            self._drain()
            self._close()
        return code

    def signal(self, number: Signals, *, descendants: bool = True) -> None:
        """Send a signal to the child and its descendants, unless the child was waited for."""
        if not self._ended:
            with suppress(ProcessLookupError, PermissionError):
                (os.killpg if descendants else os.kill)(self.pid, number)

    async def stop(self, number: Signals, *, within: float) -> None:
        """Send `number`; kill what is still there after `within` seconds."""
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


async def _start_or_end(
    starting: Coroutine[Any, Any, asyncio.subprocess.Process],
) -> asyncio.subprocess.Process:
    """Wait for a child to start; when cancelled meanwhile, end the child before raising."""
    task = asyncio.create_task(starting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        child = await task
        child.kill()
        await child.wait()
        raise


def _require_program(name: str, folder: Path, environ: Mapping[str, str]) -> None:
    """Raise FileNotFoundError here, where no process has begun, unless there is such a program."""
    place = str(folder / name) if os.sep in name else name
    if shutil.which(place, path=environ.get("PATH")) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def _dying_with_us(command: tuple[str, ...], number: Signals) -> tuple[str, ...]:
    """Return a command that gets `number` when this process dies."""
    bare = (sys.executable, "-I", "-S", str(_EXEC))
    return (*bare, str(int(number)), str(os.getpid()), *command)


def set_parent_death_signal(number: Signals) -> None:
    """Have the kernel send this process `number` when its parent dies (Linux; see prctl(2))."""
    if _LIBC:
        _LIBC.prctl(_PR_SET_PDEATHSIG, number)


def send_signal(pid: int, number: int) -> bool:
    """Send a signal to one process; return whether it exists. Raises ValueError.

    Numbers up to 1 are refused: kill(2) takes 0 for the caller's own group and -1 for everything.
    """
    if pid <= 1:
        raise ValueError(f"{pid} is not the number of a process that may be signalled.")
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def describe_exit(code: int) -> str:
    """Return an exit code in words: `exited with 1`, `was killed by SIGKILL`."""
    if code >= 0:
        return f"exited with {code}"
    return f"was killed by {Signals(-code).name}"
