"""One keep-alive HTTP/1.1 connection: a request goes out, its answer comes back piece by piece."""

import asyncio
from collections import deque
from typing import cast

import httptools

from devenv.gcp.delivery import NoAnswer

type RawHeaders = list[tuple[bytes, bytes]]

_HIGH_WATER = 256 * 1024  # bytes of an answer that wait to be read before the sender is slowed down
_MAX_HEADERS = 256 * 1024


class Connection(asyncio.Protocol):
    """Used for one exchange after the other: `begin`, `write`, `head`, then `read` until empty."""

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

    # for the pool and the ingress

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing more to read."""
        return self.complete and not self._chunks

    @property
    def reusable(self) -> bool:
        return self.exhausted and self._keep_alive and not self._closed

    def begin(self, *, bodiless: bool) -> None:
        """Get ready for the answer to the next request; `bodiless` is one to HEAD."""
        self._reset(bodiless=bodiless)

    def write(self, data: bytes) -> None:
        if self._transport and not self._closed:
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait until the other side takes more."""
        await self._writable.wait()

    async def head(self) -> int:
        """Return the status once the headers are there. Raises NoAnswer."""
        while not self.status:
            await self._change()
        return self.status

    async def read(self) -> bytes:
        """Return what there is of the body, nothing at its end. Raises NoAnswer."""
        while not self._chunks and not self.complete:
            await self._change()
        if self._waiting > _HIGH_WATER and self._transport:
            self._transport.resume_reading()
        self._waiting = 0
        found = b"".join(self._chunks)
        self._chunks.clear()
        return found

    def abort(self, reason: str = "The connection was given up.") -> None:
        self._fail(reason)
        self._closed = True
        if self._transport:
            self._transport.abort()

    async def _change(self) -> None:
        if self._error or self._closed:
            raise NoAnswer(self._error or "The connection is closed.")
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
            self.abort("The target sent data that nobody had asked for.")
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
