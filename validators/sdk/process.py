"""Run a foreign program with limits on its time, memory and files.

The program gets a process group of its own, and the whole group ends with the call: a child that
the program leaves behind does not survive it. The program also dies with the validator, whatever
kills that (`validators/sdk/confine.py` sets both the limits and the death signal).
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Self

_FILE_LIMIT_MB = 4096
_TAIL_BYTES = 8000
_GRACE_SECONDS = 2.0
_CONFINE = Path(__file__).with_name("confine.py")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """End of a foreign program. A negative `returncode` is the signal that ended it."""

    returncode: int
    seconds: float
    timed_out: bool
    stdout_tail: str
    stderr_tail: str

    @property
    def signal_name(self) -> str | None:
        """Return the name of the signal that ended the program."""
        return signal.Signals(-self.returncode).name if self.returncode < 0 else None


def run_limited(
    command: Sequence[str | Path],
    *,
    folder: Path,
    timeout: float,
    memory_mb: int | None,
    environment: dict[str, str],
    stdin: int = subprocess.DEVNULL,
) -> Ended:
    """Run `command` in `folder` and wait for it, at most `timeout` seconds.

    The environment is `environment` and nothing else; `stdin` is the descriptor of its standard
    input. A program that cannot be executed ends with return code 127 and the reason on its
    standard error.
    """
    started = monotonic()
    limits = [str(memory_mb or 0), str(_FILE_LIMIT_MB), str(os.getpid())]
    confined = [sys.executable, "-I", "-S", _CONFINE, *limits, *command]
    with (folder / ".stdout").open("w+b") as stdout, (folder / ".stderr").open("w+b") as stderr:
        process = subprocess.Popen(
            [str(part) for part in confined],
            cwd=folder,
            env=environment,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            timed_out = not _ends_within(process, timeout)
        finally:
            _end_group(process)
        return Ended(
            returncode=process.returncode,
            seconds=monotonic() - started,
            timed_out=timed_out,
            stdout_tail=_tail(stdout.fileno()),
            stderr_tail=_tail(stderr.fileno()),
        )


class WaitingProgram:
    """Program that starts beside a simulation, and works on its results once it is released.

    Its start then costs the attempt no time. It reads its standard input to the end, and works if
    that was `GO`; its input ends at the end of the block in any case. It is run by `run_limited`, in
    its own `folder`.
    """

    GO = b"go"

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path,
        timeout: float,
        memory_mb: int | None,
    ) -> None:
        self._read, self._write = os.pipe()
        self._pool = ThreadPoolExecutor(1)
        self._running = self._pool.submit(
            run_limited,
            command,
            folder=folder,
            timeout=timeout,
            memory_mb=memory_mb,
            environment={"HOME": str(folder), "LC_ALL": "C.UTF-8"},
            stdin=self._read,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._pool.shutdown()
        os.close(self._read)

    def release(self) -> None:
        """Let the program begin its work."""
        os.write(self._write, self.GO)
        self._close()

    def ended(self) -> Ended:
        """Wait for the program to end, and return how it ended."""
        return self._running.result()

    def _close(self) -> None:
        if self._write >= 0:
            os.close(self._write)
            self._write = -1


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait without polling: `Popen.wait(timeout)` notices the end up to 50 ms late."""
    if not hasattr(os, "pidfd_open"):
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        return process.returncode is not None
    descriptor = os.pidfd_open(process.pid)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the process group: SIGTERM, then SIGKILL."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, _TAIL_BYTES, max(size - _TAIL_BYTES, 0))
    return data.decode(errors="replace")
