"""HTTP/1.1 connections to the places that requests are forwarded to, and the pool that keeps them.

A `Connection` carries one exchange after the other: `begin`, `write`, `head`, then `read` until it
is exhausted. The answer is parsed by httptools as it arrives; when too much of it waits to be read,
the sender is slowed down. A kept connection may be closed by the other side at any moment, so a
request that is whole is sent once more on a new connection when a kept one breaks before the
answer. A request whose body is still arriving cannot be repeated, and gets a new connection.

An HTTP client library would do the same at seven times the cost for each request, and without the
repetition; see docs/decisions/0020-forwarding-without-an-http-client.md.
"""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias, cast
from urllib.parse import urlsplit

import httptools

from devenv.gcp.delivery import DeliveryAnswer, DeliveryFailed, DeliveryRequest

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

_HIGH_WATER = 256 * 1024  # bytes of an answer that wait to be read before the sender is slowed down
_MAX_HEADERS = 256 * 1024
_MAX_IDLE = 32  # per origin
_MAX_ANSWER = 64 * 1024  # bytes of an answer that are kept
_IDLE_FOR = 2.0  # seconds; servers close idle connections after 5 and more


class Connection(asyncio.Protocol):
    """A keep-alive connection, used for one exchange at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = False
        self._reset(bodiless=False)

    def _reset(self, *, bodiless: bool) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._bodiless = bodiless
        self._error = ""
        self._headers_size = 0
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._keep_alive = False
        self.status = 0
        self.headers: RawHeaders = []
        self.complete = False

    @property
    def exhausted(self) -> bool:
        """Whether the whole answer has been read."""
        return self.complete and not self._chunks

    @property
    def reusable(self) -> bool:
        return self.exhausted and self._keep_alive and not self._closed

    def begin(self, *, bodiless: bool) -> None:
        """Prepare for the next answer; `bodiless` says that its request is a HEAD."""
        self._reset(bodiless=bodiless)

    def write(self, data: bytes) -> None:
        if self._transport and not self._closed:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the other side accepts more bytes."""
        await self._writable.wait()

    async def head(self) -> int:
        """Return the status once the headers are there. Raises NoAnswer."""
        while not self.status:
            await self._change()
        return self.status

    async def read(self) -> bytes:
        """Return the next bytes of the body; none at its end. Raises NoAnswer."""
        while not self._chunks and not self.complete:
            await self._change()
        if self._waiting > _HIGH_WATER and self._transport:
            self._transport.resume_reading()
        self._waiting = 0
        found = b"".join(self._chunks)
        self._chunks.clear()
        return found

    def abort(self, reason: str = "The connection was closed.") -> None:
        self._fail(reason)
        self._closed = True
        if self._transport:
            self._transport.abort()

    async def _change(self) -> None:
        if self._error or self._closed:
            raise DeliveryFailed(self._error or "The connection is closed.")
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, reason: str) -> None:
        if not self.complete:
            self._error = self._error or reason
        self._wake()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.complete:
            self.abort("The target sent data without a request.")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.abort(f"The answer is not HTTP: {error}.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        if self.status and exc is None and self._ends_with_connection():
            self.on_message_complete()
        self._fail("The target closed the connection before it had answered.")
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _ends_with_connection(self) -> bool:
        framing = (b"content-length", b"transfer-encoding")
        return not any(name.lower() in framing for name, _ in self.headers)

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers_size += len(name) + len(value)
        if self._headers_size > _MAX_HEADERS:
            raise ValueError("headers too long")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue or 103 Early Hints: the answer is yet to come
            self.headers = []
            return
        self.status = status
        if self._bodiless:
            self.complete = True  # the parser would wait for a body; nor can it be used again
        self._wake()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._waiting += len(body)
        if self._waiting > _HIGH_WATER and self._transport:
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self.status:
            self.complete = True
            self._keep_alive = not self._closed and self._parser.should_keep_alive()
            self._wake()


class Origin(NamedTuple):
    """Host and port of a server."""

    host: str
    port: int
    tls: bool = False

    @classmethod
    def of(cls, url: str) -> "Origin":
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        return cls(parts.hostname or "", parts.port or (443 if tls else 80), tls)


class Pool:
    """Connections that are kept open between requests."""

    def __init__(self) -> None:
        self._idle: dict[Origin, list[tuple[float, Connection]]] = {}
        self._tls: ssl.SSLContext | None = None

    async def exchange(self, origin: Origin, payload: bytes, *, bodiless: bool) -> Connection:
        """Send a whole request, return the connection once the status has arrived. Raises NoAnswer."""
        if connection := self._take(origin):
            try:
                return await _ask(connection, payload, bodiless=bodiless)
            except DeliveryFailed:
                pass
        return await _ask(await self._open(origin), payload, bodiless=bodiless)

    async def begin(self, origin: Origin, payload: bytes, *, bodiless: bool) -> Connection:
        """Send the beginning of a request on a new connection, without waiting for its answer."""
        connection = await self._open(origin)
        connection.begin(bodiless=bodiless)
        connection.write(payload)
        return connection

    def release(self, origin: Origin, connection: Connection) -> None:
        """Keep the connection if its exchange ended well, else close it."""
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
            raise DeliveryFailed(
                f"{origin.host}:{origin.port} cannot be reached: {error}"
            ) from error
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


async def buffered(
    pool: Pool, origin: Origin, request: DeliveryRequest, headers: RawHeaders
) -> DeliveryAnswer:
    """Exchange a whole request; a long answer is cut. Raises NoAnswer."""
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
    return DeliveryAnswer(connection.status, found, bytes(body[:_MAX_ANSWER]))


def request_head(method: str, target: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the first lines of an HTTP/1.1 request."""
    lines = [f"{method} {target} HTTP/1.1".encode()]
    lines.extend(name + b": " + value for name, value in headers)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def target_of(url: str) -> str:
    """Return the path and query of a URL, as they stand in the first line of a request."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def framing(headers: RawHeaders, *, first: bytes, more: bool, method: str) -> RawHeaders:
    """Return the header that tells the length of the body, unless there is one."""
    if any(name.lower() == b"content-length" for name, _ in headers):
        return []
    if more:
        return [(b"transfer-encoding", b"chunked")]
    if first or method in ("POST", "PUT", "PATCH"):
        return [(b"content-length", str(len(first)).encode())]
    return []
