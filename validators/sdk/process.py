"""Run a foreign program so that it cannot outlive, outgrow or outlast its validator."""

import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

_MB = 1 << 20
_FILE_LIMIT_MB = 4096
_TAIL_BYTES = 8000
_GRACE_SECONDS = 2.0
_PR_SET_PDEATHSIG = 1

# Loaded before any fork: the child may not import between fork and exec.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, kw_only=True)
class Ended:
    returncode: int
    """Negative: the signal that ended it."""
    seconds: float
    timed_out: bool
    stdout_tail: str
    stderr_tail: str

    @property
    def signal_name(self) -> str | None:
        return signal.Signals(-self.returncode).name if self.returncode < 0 else None


def run_limited(
    command: Sequence[str | Path],
    *,
    folder: Path,
    timeout: float,
    memory_mb: int | None,
    environment: dict[str, str],
) -> Ended:
    """Run `command` in `folder` in its own process group; the whole group ends with this call."""
    started = monotonic()
    with (folder / ".stdout").open("w+b") as stdout, (folder / ".stderr").open("w+b") as stderr:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=lambda: _confine(memory_mb),  # noqa: PLW1509 - rlimits have no other door
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


def _confine(memory_mb: int | None) -> None:
    """Runs in the child before exec."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, _FILE_LIMIT_MB * _MB)
    if memory_mb is not None:
        _limit(resource.RLIMIT_AS, memory_mb * _MB)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with suppress(ValueError, OSError):  # macOS does not know every limit
        resource.setrlimit(kind, (value, value))


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """`Popen.wait(timeout)` would notice the end up to 50 ms late, for it polls."""
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
