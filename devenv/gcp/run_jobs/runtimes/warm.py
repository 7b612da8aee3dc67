"""Waiting processes that have imported a job's modules and become its tasks by forking.

`JobProcess` identifies a process by pid and start time, because most of these are not children of
the emulator: a supervisor or a fork server started them.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devenv.gcp.run_jobs.runtimes import forkserver
from devenv.gcp.run_jobs.runtimes.supervisor import start_time

_POLL = 0.05


@dataclass(frozen=True, slots=True)
class JobProcess:
    """A pid, and the start time by which it is told from a later process of the same pid."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "JobProcess":
        return cls(pid, start_time(pid))

    @classmethod
    def parse(cls, text: str) -> "JobProcess | None":
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


log = logging.getLogger(__name__)

_HERE = str(Path(__file__).parent)
_SERVE = (
    "import sys; sys.path.insert(0, sys.argv[1]); import forkserver, supervisor; sys.path.pop(0); "
    "forkserver.main(supervisor.supervise, sys.argv[2:])"
)
FORK_TIMEOUT = 5.0  # seconds in which a server must fork
_MOST = 8  # servers
_PAUSE = 10.0  # seconds before a server that died is replaced


class WarmServerLost(Exception):
    """The server failed with a request in its hands; it may or may not have forked."""


@dataclass(frozen=True, slots=True)
class WarmKind:
    """The tasks that a server can become: `warm` is imported, in an interpreter started with `env`.

    Only what a program can read before its own first line is in `env`: an import may look at it.
    """

    warm: tuple[str, ...]
    env: frozenset[tuple[str, str]]


class WarmServer:
    """One waiting process."""

    def __init__(self, kind: WarmKind, project: Path) -> None:
        self.ready = False
        self.ended_at: float | None = None
        self._answers: deque[asyncio.Future[int]] = deque()
        ours, theirs = socket.socketpair()
        try:
            self._pid = _spawn(kind, project, theirs.fileno())
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._life = asyncio.create_task(self._live(ours))

    async def fork(self, request: Mapping[str, Any]) -> JobProcess:
        """Return the supervisor of a new task. Raises WarmServerLost."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self._writer.write(json.dumps(request).encode() + b"\n")
        try:
            async with asyncio.timeout(FORK_TIMEOUT):
                return JobProcess.of(await answer)
        except TimeoutError as error:
            JobProcess.of(self._pid).signal(signal.SIGKILL)
            raise WarmServerLost from error

    async def retire(self) -> None:
        """Close once the forks that were asked for have been answered."""
        if self._answers:
            await asyncio.wait(set(self._answers), timeout=FORK_TIMEOUT)
        await self.close()

    async def close(self) -> None:
        self._life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._life

    async def _live(self, ours: socket.socket) -> None:
        """Hand out the server's answers until it dies, or until nobody needs it any more."""
        loop = asyncio.get_running_loop()
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        process = JobProcess.of(self._pid)
        try:
            while line := await reader.readline():
                if line == forkserver.READY:
                    self.ready = True
                elif not (answer := self._answers.popleft()).done():
                    answer.set_result(int(line))
        except (ConnectionError, ValueError, IndexError):
            log.warning("A waiting process ended, or sent an unexpected answer.")
        finally:
            self.ready, self.ended_at = False, loop.time()
            self._writer.close()
            for answer in self._answers:
                if not answer.cancelled():
                    answer.set_exception(WarmServerLost())
            process.signal(signal.SIGKILL)
            await asyncio.shield(process.ended())


class WarmServers:
    """Starts servers when their kind is first asked for, and again after one has died."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._servers: dict[WarmKind, WarmServer] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def renew(self) -> None:
        """Replace every server by one that imports its modules anew."""
        replaced, self._servers = self._servers, {}
        for kind, server in replaced.items():
            self.prepare(kind)
            task = asyncio.create_task(server.retire())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def prepare(self, kind: WarmKind) -> None:
        """Start a server of this kind unless there is one, or one died a moment ago."""
        server = self._servers.get(kind)
        now = asyncio.get_running_loop().time()
        if server and (server.ended_at is None or now < server.ended_at + _PAUSE):
            return
        if server is None and len(self._servers) >= _MOST:
            return
        try:
            self._servers[kind] = WarmServer(kind, self._project)
        except OSError:
            log.exception("A waiting process could not be started.")

    async def fork(self, kind: WarmKind, request: Mapping[str, Any]) -> JobProcess | None:
        """Return the supervisor of a new task, or None if no server is ready. Raises WarmServerLost."""
        self.prepare(kind)
        server = self._servers.get(kind)
        return await server.fork(request) if server and server.ready else None

    async def close(self) -> None:
        servers, self._servers = self._servers, {}
        await asyncio.gather(*(server.close() for server in servers.values()), *self._retiring)


def _spawn(kind: WarmKind, project: Path, channel: int) -> int:
    """Start a server in the folder `project`; it shows its errors where the emulator does."""
    enter = "import os, sys; os.chdir(sys.argv.pop(1)); "
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, channel, forkserver.CHANNEL),
    ]
    return os.posix_spawn(
        sys.executable,
        (sys.executable, "-c", enter + _SERVE, str(project), _HERE, *kind.warm),
        dict(kind.env),
        file_actions=actions,
        setsigmask=(),
    )
