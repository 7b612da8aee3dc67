"""Waiting processes for images that are slow to import: one for each image, account and interpreter setting."""

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
from devenv.gcp.run_jobs.runtimes.ending import Process

log = logging.getLogger(__name__)

_HERE = str(Path(__file__).parent)
_SERVE = (
    "import sys; sys.path.insert(0, sys.argv[1]); import forkserver, supervisor; sys.path.pop(0); "
    "forkserver.main(supervisor.supervise, sys.argv[2:])"
)
PATIENCE = 5.0  # seconds in which a server must fork
_MOST = 8  # servers
_PAUSE = 10.0  # seconds before a server that died is replaced


class ServerLost(Exception):
    """The server failed with a request in its hands; it may or may not have forked."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a server can become: tasks that import `warm`, in an interpreter started with `env`.

    Only what a program can read before its own first line is in `env`: an import may look at it.
    """

    warm: tuple[str, ...]
    env: frozenset[tuple[str, str]]


class Server:
    """One waiting process."""

    def __init__(self, kind: Kind, project: Path) -> None:
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

    async def fork(self, request: Mapping[str, Any]) -> Process:
        """Return the supervisor of a new task. Raises ServerLost."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        self._writer.write(json.dumps(request).encode() + b"\n")
        try:
            async with asyncio.timeout(PATIENCE):
                return Process.of(await answer)
        except TimeoutError as error:
            Process.of(self._pid).signal(signal.SIGKILL)
            raise ServerLost from error

    async def retire(self) -> None:
        """Close once the forks that were asked for have been answered."""
        if self._answers:
            await asyncio.wait(set(self._answers), timeout=PATIENCE)
        await self.close()

    async def close(self) -> None:
        self._life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._life

    async def _live(self, ours: socket.socket) -> None:
        """Hand out the server's answers until it dies, or until nobody needs it any more."""
        loop = asyncio.get_running_loop()
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        process = Process.of(self._pid)
        try:
            while line := await reader.readline():
                if line == forkserver.READY:
                    self.ready = True
                elif not (answer := self._answers.popleft()).done():
                    answer.set_result(int(line))
        except (ConnectionError, ValueError, IndexError):
            log.warning("A waiting process broke off, or answered what nobody asked.")
        finally:
            self.ready, self.ended_at = False, loop.time()
            self._writer.close()
            for answer in self._answers:
                if not answer.cancelled():
                    answer.set_exception(ServerLost())
            process.signal(signal.SIGKILL)
            await asyncio.shield(process.ended())


class Servers:
    """Starts servers when their kind is first asked for, and again after one has died."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._servers: dict[Kind, Server] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def renew(self) -> None:
        """Replace every server by one that imports its modules anew."""
        replaced, self._servers = self._servers, {}
        for kind, server in replaced.items():
            self.prepare(kind)
            task = asyncio.create_task(server.retire())
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def prepare(self, kind: Kind) -> None:
        """Start a server of this kind unless there is one, or one died a moment ago."""
        server = self._servers.get(kind)
        now = asyncio.get_running_loop().time()
        if server and (server.ended_at is None or now < server.ended_at + _PAUSE):
            return
        if server is None and len(self._servers) >= _MOST:
            return
        try:
            self._servers[kind] = Server(kind, self._project)
        except OSError:
            log.exception("A waiting process could not be started.")

    async def fork(self, kind: Kind, request: Mapping[str, Any]) -> Process | None:
        """Return the supervisor of a new task, or None if no server is ready. Raises ServerLost."""
        self.prepare(kind)
        server = self._servers.get(kind)
        return await server.fork(request) if server and server.ready else None

    async def close(self) -> None:
        servers, self._servers = self._servers, {}
        await asyncio.gather(*(server.close() for server in servers.values()), *self._retiring)


def _spawn(kind: Kind, project: Path, channel: int) -> int:
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
