"""Services as data: command, dependencies, health, restarts, and the files that reload them.

Everything the supervisor needs to know about a service is a frozen value, so that a list of
services can come from code today and from a file tomorrow. The order in which services start and
stop follows from `needs` alone. A service is healthy by an HTTP answer, a connection, a line of its
log, or a command.
"""

import asyncio
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Protocol

from devenv.stack.problems import StackError

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})")


class Probe(Protocol):
    """Health probe of a service."""

    async def is_healthy(self, environ: Mapping[str, str]) -> bool:
        """Probe once; no answer and a wrong answer are `False`."""
        ...


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Healthy when GET `path` at `address` answers 2xx; `host` is the Host header."""

    port: int
    path: str = "/"
    host: str = "localhost"
    timeout: float = 2.0
    address: str = "127.0.0.1"

    async def is_healthy(self, environ: Mapping[str, str]) -> bool:
        try:
            async with asyncio.timeout(self.timeout):
                status = await self._status()
        except (OSError, TimeoutError):
            return False
        return 200 <= status < 300

    async def _status(self) -> int:
        reader, writer = await asyncio.open_connection(self.address, self.port)
        try:
            request = f"GET {self.path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n"
            writer.write(request.encode("ascii"))
            found = _STATUS_LINE.match(await reader.read(64))
            return int(found[1]) if found else 0
        finally:
            writer.close()


@dataclass(frozen=True, slots=True)
class CommandProbe:
    """Healthy when the command exits with 0 in the service's own environment."""

    command: tuple[str, ...]
    timeout: float = 3.0

    async def is_healthy(self, environ: Mapping[str, str]) -> bool:
        # In a thread: a subprocess of asyncio that is cancelled while it starts is lost.
        return await asyncio.to_thread(self._succeeds, environ)

    def _succeeds(self, environ: Mapping[str, str]) -> bool:
        try:
            done = subprocess.run(
                self.command, env=environ, capture_output=True, timeout=self.timeout, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


@dataclass(frozen=True, slots=True)
class TcpProbe:
    """Healthy when the port accepts a connection."""

    port: int
    timeout: float = 2.0
    address: str = "127.0.0.1"

    async def is_healthy(self, environ: Mapping[str, str]) -> bool:
        try:
            async with asyncio.timeout(self.timeout):
                _, writer = await asyncio.open_connection(self.address, self.port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True


@dataclass(frozen=True, slots=True)
class LogProbe:
    """Healthy once the present process has written a line with the pattern."""

    pattern: re.Pattern[str]
    _found: list[str] = field(default_factory=list, compare=False)

    async def is_healthy(self, environ: Mapping[str, str]) -> bool:
        return bool(self._found)

    def forget(self) -> None:
        """Forget the lines of an earlier process."""
        self._found.clear()

    def read(self, line: str) -> None:
        if not self._found and self.pattern.search(line):
            self._found.append(line)


@dataclass(frozen=True, slots=True)
class Restart:
    """Pauses before a process that ended is started again; `calm` seconds of life reset them.

    A service that was never healthy is given up after `attempts` ends: its configuration or its
    code is wrong, and starting it again would hide that. One without a probe has to live for `calm`
    seconds to count as once healthy here.
    """

    first: float = 0.2
    ceiling: float = 5.0
    calm: float = 10.0
    attempts: int = 4

    def delay(self, ends: int) -> float:
        return min(self.first * 2.0 ** max(ends - 1, 0), self.ceiling)


@dataclass(frozen=True, slots=True)
class Once:
    """A step that runs to its end, and again only when `key()` differs from the text in `stamp`."""

    stamp: Path
    key: Callable[[], str]

    def is_done(self) -> bool:
        return self.stamp.is_file() and self.stamp.read_text() == self.key()

    def mark_done(self) -> None:
        self.stamp.write_text(self.key())


@dataclass(frozen=True, slots=True, kw_only=True)
class Reload:
    """The files that a running service depends on, and what happens when one of them changes.

    `watch` holds globs below the stack's folder. With `port`, a second process is started beside
    the first one and takes over once it listens there and is healthy: no request is refused, and
    code that does not start leaves the old process in service. Without `port` the process is
    stopped gracefully and started again. With `signal` the process is told, and lives on. A step
    runs again, before the services that need it reload.
    """

    watch: tuple[str, ...]
    port: int = 0
    signal: Signals | None = None
    drain_within: float = 60.0  # how long requests in flight may take


@dataclass(frozen=True, slots=True, kw_only=True)
class StackService:
    """A process of the stack.

    `needs` names the services that must be healthy (servers) or done (steps) first. `environ` is
    called at each start, as values such as a tunnel's URL are known only then. The process begins in
    `folder`, which is below the stack's. Without a probe it
    is healthy when its process has lived for `settle` seconds.
    """

    name: str
    command: tuple[str, ...]
    environ: Callable[[], Mapping[str, str]]
    folder: str = ""
    needs: tuple[str, ...] = ()
    probe: Probe | None = None
    once: Once | None = None
    reload: Reload | None = None
    restart: Restart = field(default_factory=Restart)
    ready_within: float = 60.0
    settle: float = 1.0
    stop_signal: Signals = SIGTERM
    stop_within: float = 10.0


def start_levels(services: Iterable[StackService]) -> list[list[str]]:
    """Return names in levels, each of which needs only earlier levels. Raises StackError."""
    needs = {service.name: service.needs for service in services}
    for name, needed in needs.items():
        if missing := sorted(set(needed) - set(needs)):
            raise StackError(f"{name} needs {missing[0]}, which is not a service.")
    return levels(needs)


def stop_levels(services: Iterable[StackService]) -> list[list[str]]:
    """Return names in levels: a service stops after everything that needs it."""
    services = list(services)
    dependents: dict[str, list[str]] = {service.name: [] for service in services}
    for service in services:
        for need in service.needs:
            dependents[need].append(service.name)
    return levels(dependents)


def levels(needs: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return names in levels by what each of them needs. Raises StackError if that is a cycle."""
    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError as error:
        cycle = " → ".join(error.args[1])
        raise StackError(f"Services need each other: {cycle}.") from error
    found = []
    while sorter.is_active():
        level = sorter.get_ready()
        sorter.done(*level)
        found.append(sorted(level))
    return found
