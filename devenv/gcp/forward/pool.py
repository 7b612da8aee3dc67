"""Connections to where requests go, kept open between them."""

import asyncio
import ssl
import time
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from devenv.gcp.delivery import Answer, NoAnswer, Request
from devenv.gcp.forward.connection import Connection, RawHeaders
from devenv.gcp.forward.headers import framing

_MAX_IDLE = 32  # per origin
_MAX_ANSWER = 64 * 1024  # bytes that anybody may want to see
_IDLE_FOR = 2.0  # seconds; servers close idle connections after 5 and more


class Origin(NamedTuple):
    host: str
    port: int
    tls: bool = False

    @classmethod
    def of(cls, url: str) -> "Origin":
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        return cls(parts.hostname or "", parts.port or (443 if tls else 80), tls)


class Pool:
    def __init__(self) -> None:
        self._idle: dict[Origin, list[tuple[float, Connection]]] = {}
        self._tls: ssl.SSLContext | None = None

    async def exchange(self, origin: Origin, payload: bytes, *, bodiless: bool) -> Connection:
        """Send a whole request and return the connection once the status is there. Raises NoAnswer.

        A kept connection may have been closed by the other side just now; then the request is sent
        once more on a new one.
        """
        if connection := self._take(origin):
            try:
                return await _ask(connection, payload, bodiless=bodiless)
            except NoAnswer:
                pass
        return await _ask(await self._open(origin), payload, bodiless=bodiless)

    async def begin(self, origin: Origin, payload: bytes, *, bodiless: bool) -> Connection:
        """Send the beginning of a request on a new connection, without waiting for its answer."""
        connection = await self._open(origin)
        connection.begin(bodiless=bodiless)
        connection.write(payload)
        return connection

    def release(self, origin: Origin, connection: Connection) -> None:
        """Keep the connection for the next request, if its exchange has ended well."""
        idle = self._idle.setdefault(origin, [])
        if connection.reusable and len(idle) < _MAX_IDLE:
            idle.append((time.monotonic(), connection))
        else:
            connection.abort()

    def close(self) -> None:
        for idle in self._idle.values():
            for _, connection in idle:
                connection.abort()
        self._idle.clear()

    def _take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin, [])
        while idle:
            since, connection = idle.pop()
            if connection.reusable and time.monotonic() - since < _IDLE_FOR:
                return connection
            connection.abort()
        return None

    async def _open(self, origin: Origin) -> Connection:
        if origin.tls and not self._tls:
            self._tls = ssl.create_default_context()
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                Connection, origin.host, origin.port, ssl=self._tls if origin.tls else None
            )
        except (OSError, ValueError) as error:
            raise NoAnswer(f"{origin.host}:{origin.port} cannot be reached: {error}") from error
        return connection


async def _ask(connection: Connection, payload: bytes, *, bodiless: bool) -> Connection:
    connection.begin(bodiless=bodiless)
    connection.write(payload)
    try:
        await connection.head()
    except BaseException:
        connection.abort()
        raise
    return connection


async def buffered(pool: Pool, origin: Origin, request: Request, headers: RawHeaders) -> Answer:
    """Exchange a request that is whole; the end of a long answer is not kept. Raises NoAnswer."""
    frame = framing(headers, first=request.body, more=False, method=request.method)
    payload = request_head(request.method, target_of(request.url), headers + frame) + request.body
    connection = await pool.exchange(origin, payload, bodiless=request.method == "HEAD")
    try:
        body = bytearray()
        while not connection.exhausted and len(body) < _MAX_ANSWER:
            body += await connection.read()
    finally:
        pool.release(origin, connection)
    found = {name.decode("latin-1").lower(): v.decode("latin-1") for name, v in connection.headers}
    return Answer(connection.status, found, bytes(body[:_MAX_ANSWER]))


def request_head(method: str, target: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the first lines of an HTTP/1.1 request."""
    lines = [f"{method} {target} HTTP/1.1".encode()]
    lines.extend(name + b": " + value for name, value in headers)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def target_of(url: str) -> str:
    """Return the path and query of a URL, as they stand in the first line of a request."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
