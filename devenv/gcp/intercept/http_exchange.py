"""A request over HTTP/1.1 and its answer.

The head of an answer leaves with the beginning of the body in one write. Each answer gets a Date header,
without which clients cannot cache it.
"""

import asyncio
import re
import time
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from devenv.gcp.rpc.rest import BREAK_OFF

_COPIED = 64 * 1024  # bytes of a body that are copied behind the head
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_FRAMING = frozenset((b"connection", b"content-length", b"date", b"transfer-encoding"))


@lru_cache(maxsize=1024)
def _line(name: bytes, value: bytes) -> bytes:
    """Return the line of a header, most of which come again and again. Raises RuntimeError."""
    if _CONTROL.search(value) or not _NAME.fullmatch(name):
        raise RuntimeError(f"The header {name!r} has a name or value that HTTP forbids.")
    return b"%b: %b\r\n" % (name, value)


class _Head(NamedTuple):
    """Headers of an answer as they are sent, and what they say about the rest of it."""

    lines: bytes
    length: int | None
    is_chunked: bool
    closes: bool
    is_dated: bool


def _head_of(headers: Iterable[tuple[bytes, bytes]]) -> _Head:
    lines = []
    length, is_chunked, closes, is_dated = None, False, False, False
    for key, value in headers:
        name = key.lower()
        lines.append(_line(name, value))
        if name not in _FRAMING:
            continue
        if name == b"content-length" and length is None:
            length = int(value)
        is_chunked = is_chunked or (name == b"transfer-encoding" and value.lower() == b"chunked")
        closes = closes or (name == b"connection" and b"close" in value.lower())
        is_dated = is_dated or name == b"date"
    return _Head(b"".join(lines), length, is_chunked, closes, is_dated)


_known_head_of = lru_cache(maxsize=1024)(_head_of)


@lru_cache(maxsize=1)
def _date_line(second: int) -> bytes:
    return b"date: %b\r\n" % formatdate(second, usegmt=True).encode()


class HttpExchange(RequestResponseCycle):
    """A request and its answer. The head is held until the body begins, or the loop's next turn."""

    _head = b""
    _timer: asyncio.Handle | None = None
    is_first_turn = False
    access_log = disconnected = response_started = response_complete = False
    more_body = True
    chunked_encoding: bool | None = None
    expected_content_length = 0

    def __init__(self, connection: HttpToolsProtocol, *, keep_alive: bool) -> None:
        """Take what differs between exchanges from the connection; the rest is of the class."""
        self.scope = connection.scope
        self.transport, self.flow = connection.transport, connection.flow
        self.logger = connection.logger
        self.default_headers = connection.server_state.default_headers
        self.message_event = asyncio.Event()
        self.on_response = connection.on_response_complete
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = connection.expect_100_continue
        self.body = bytearray()

    async def send(self, message: Any) -> None:
        if message["type"] == BREAK_OFF:
            self._break_off()
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected or self.transport.is_closing():
            await asyncio.sleep(0)  # others get their turns while an application goes on for nobody
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            self._begin(message["status"], message.get("headers", ()))
        elif kind == "http.response.body" and self.response_started and not self.response_complete:
            self._continue(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"The message {kind!r} is not expected at this point of the answer.")

    def _break_off(self) -> None:
        """Close the connection without the rest of the answer, of which some may wait here."""
        self.disconnected, self._head = True, b""
        self.transport.abort()

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        # A client that was not told to continue sends its body or not (RFC 9110, section 10.1.1), so
        # nobody could tell where its next request begins.
        is_body_unsure = self.waiting_for_100_continue and self.more_body
        self.keep_alive = self.keep_alive and not is_body_unsure
        self.response_started, self.waiting_for_100_continue = True, False
        if self.default_headers:
            headers = (*self.default_headers, *headers)
        # Applications keep a tuple of the headers that they send again.
        head = _known_head_of(headers) if type(headers) is tuple else _head_of(headers)
        self.keep_alive = self.keep_alive and not head.closes
        parts = [STATUS_LINE[status], head.lines]
        if not head.is_dated:
            parts.append(_date_line(int(time.time())))
        if not self.keep_alive and not head.closes:
            parts.append(b"connection: close\r\n")
        self.chunked_encoding = head.is_chunked
        if head.length is not None and not head.is_chunked:
            self.expected_content_length = head.length
        elif self.scope["method"] != "HEAD" and status not in (204, 304) and not head.is_chunked:
            self.chunked_encoding = True
            parts.append(b"transfer-encoding: chunked\r\n")
        parts.append(b"\r\n")
        self._head = b"".join(parts)
        if not self.is_first_turn:
            self._timer = asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Send the head if it is still here."""
        if self._head:
            self.transport.write(self._head)
            self._head = b""

    def _continue(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body, self.expected_content_length = b"", 0
        elif self.chunked_encoding:
            end = b"" if more else b"0\r\n\r\n"
            body = b"%x\r\n%b\r\n%b" % (len(body), body, end) if body else end
        elif len(body) > self.expected_content_length:
            raise RuntimeError("The answer is longer than its Content-Length.")
        else:
            self.expected_content_length -= len(body)
        self._write(body)
        if not more:
            self._end()

    def _write(self, body: bytes) -> None:
        """Write a part of the body, behind the head if that is still here."""
        head, self._head = self._head, b""
        if not head:
            self.transport.write(body)
            return
        if self._timer:
            self._timer.cancel()
        if len(body) > _COPIED:
            self.transport.writelines((head, body))
        else:
            self.transport.write(head + body)

    def _end(self) -> None:
        if self.expected_content_length != 0:
            raise RuntimeError("The answer is shorter than its Content-Length.")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
