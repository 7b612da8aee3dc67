"""Containers that are real processes, for tests of the runtime."""

import asyncio
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from devenv.gcp.config import ImageConfig
from devenv.gcp.run_jobs.runtimes.base import EmulatedAttempt
from devenv.gcp.run_jobs.runtimes.process import ProcessRuntime

IMAGE = "demo/python:1"
EXECUTION = "demo-abcde"

IGNORES_SIGTERM = """
    import signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, flush=True)
    time.sleep(60)
"""


def make_runtime(data: Path, *, grace: float = 0.2, images: Any = None) -> ProcessRuntime:
    """Return a runtime whose only image runs the Python source in its first argument."""
    return ProcessRuntime(
        images=images or [ImageConfig(IMAGE, ("{python}", "-c"))],
        environ=lambda account: {"WHO": account},
        data=data,
        project=Path.cwd(),
        grace=grace,
    )


def make_attempt(source: str = "pass", **changes: Any) -> EmulatedAttempt:
    fields: dict[str, Any] = {"index": 0, "number": 0, "memory": 512 * 2**20, "env": {}} | changes
    return EmulatedAttempt(
        execution=EXECUTION,
        image=IMAGE,
        account="runner@demo",
        args=(textwrap.dedent(source),),
        **fields,
    )


def log_of(data: Path) -> str:
    """Return what the first attempt of the first task has written."""
    path = data / "logs" / EXECUTION / "task0-0.log"
    return path.read_text() if path.exists() else ""


async def eventually[T](look: Callable[[], T]) -> T:
    """Return what `look` finds, as soon as it finds something."""
    async with asyncio.timeout(60):
        while not (found := look()):  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.01)
    return found


def alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and waits to be noticed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def supervisor_of(data: Path) -> int:
    """Return the pid of the supervisor of the only attempt there is."""
    (claim,) = (data / "runtimes").glob("*/claim")
    return int(claim.read_text().split()[0])
