"""Health probes of services: an HTTP answer, a connection, a line of the log, a command."""

import asyncio
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

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
