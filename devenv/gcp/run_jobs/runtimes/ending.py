"""Processes that may not be our children: who they are, whether they live, when they end."""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass

from devenv.gcp.run_jobs.runtimes.supervisor import start_time

_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Process:
    """A pid, and the start time by which it is told from a later process of the same pid."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Process":
        return cls(pid, start_time(pid))

    @classmethod
    def parse(cls, text: str) -> "Process | None":
        """Read what `supervisor.identity` wrote."""
        pid, _, started = text.partition(" ")
        # kill(2) takes 0 for the caller's own group; 1 is init.
        return cls(int(pid), started) if pid.isdigit() and int(pid) > 1 else None

    @property
    def lives(self) -> bool:
        return start_time(self.pid) == self.started and not _gone(self.pid)

    def signal(self, number: int) -> None:
        if self.lives:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    def kill_session(self) -> None:
        """Kill the whole process group that this process leads."""
        if self.lives:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    async def ended(self) -> None:
        """Return when it has ended, at once where the system can tell."""
        if sys.platform != "linux":
            while self.lives:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(_POLL)
            return
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.lives:
                await _readable(handle)
        finally:
            os.close(handle)
        _gone(self.pid)


async def _readable(handle: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(handle, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(handle)


def _gone(pid: int) -> bool:
    """Return whether a process has ended, and take note if it was our child."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
