"""The HTTP/1.1 server behind the doors: uvicorn's protocol, which takes few turns for a short call.

A client on a busy machine waits for each turn that the server needs. So the application begins when
the whole of a short request is there, runs on as far as it need not wait, and the head of its answer
leaves with the beginning of the body in one write. Each answer gets a Date header, without which
clients cannot cache it. Connections are kept longer than any client keeps them, so that none is
closed under a request.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import httptools
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from devenv.gcp.rpc.rest import BREAK_OFF
from devenv.gcp.turns import begin

_KEEP_ALIVE = 620
_HANDSHAKE = 10.0
_GRACE = 0.2
_SHORT = 64 * 1024  # bytes of a body that the application need not begin without
_LONGEST_HEAD = 512 * 1024  # bytes of a head that does not end, and of what came with its beginning
_COPIED = 64 * 1024  # bytes of a body that are copied behind the head
_ASGI: Any = {"version": "3.0", "spec_version": "2.3"}
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux only
_CONGESTION = getattr(socket, "TCP_CONGESTION", None)  # likewise
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


@lru_cache(maxsize=1024)
def _unquoted(path: bytes) -> str:
    """Return a path as text. Raises UnicodeDecodeError."""
    text = path.decode("ascii")
    return unquote_to_bytes(text).decode("utf-8", "replace") if "%" in text else text


@lru_cache(maxsize=1)
def _date_line(second: int) -> bytes:
    return b"date: %b\r\n" % formatdate(second, usegmt=True).encode()


class _Exchange(RequestResponseCycle):
    """A request and its answer. The head is held until the body begins, or the loop's next turn."""

    _head = b""
    _timer: asyncio.Handle | None = None
    is_first_turn = False
    access_log = disconnected = response_started = response_complete = False
    more_body = True
    chunked_encoding: bool | None = None
    expected_content_length = 0

    def __init__(self, connection: "_Connection", *, keep_alive: bool) -> None:
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


class _Connection(HttpToolsProtocol):
    """A client's connection.

    It acknowledges received bytes at once. urllib3 leaves Nagle's algorithm on when it talks to a
    proxy, so a request's body waits until its head is acknowledged; the system would let it wait
    40 ms. A whole request is acknowledged by its answer.

    Bytes that stay on this machine need no pacing. Where BBR is the system's choice, its timers take a
    twentieth of the time of a large download, most of it from the client.
    """

    _waiting: _Exchange | None = None
    _answered = 0.0
    _is_in_head = False
    _head_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._socket = transport.get_extra_info("socket")
        if _CONGESTION is not None:
            with suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _CONGESTION, b"reno")

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting = None
        super().connection_lost(exc)
        if self.timeout_keep_alive_task:
            self.timeout_keep_alive_task.cancel()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._head_size = self._head_size + len(data) if self._is_in_head else 0
        if self._head_size > _LONGEST_HEAD and not self.transport.is_closing():
            self.send_400_response(f"The head of the request is longer than {_LONGEST_HEAD} bytes.")
        # uvicorn has no cycle until the first head is whole, which its types do not say.
        if _QUICKACK is not None and getattr(self.cycle, "more_body", True):
            with suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def on_message_begin(self) -> None:
        self.url, self.headers = b"", []
        self._is_in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # nobody reads the trailers behind a body
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self.transport.is_closing():
            return  # its client gets no answer, and sends it again
        version, url = self.parser.get_http_version(), httptools.parse_url(self.url)
        sent = dict(self.headers)
        self.expect_100_continue = sent.get(b"expect", b"").lower() == b"100-continue"
        scope: Any = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "method": self.parser.get_method().decode("ascii"),
            "path": _unquoted(url.path),
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self.headers,
        }
        self.scope = scope
        before: RequestResponseCycle | None = self.cycle  # uvicorn types it without None
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        self.cycle = _Exchange(self, keep_alive=keep_alive)
        if before and not before.response_complete:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        elif self._is_short(sent):
            self._waiting = self.cycle
        else:
            self._run(self.cycle)

    def on_message_complete(self) -> None:
        if self.cycle.response_complete:
            return
        self.cycle.more_body = False
        self.cycle.message_event.set()
        if self._waiting:
            cycle, self._waiting = self._waiting, None
            self._run(cycle)

    def _run(self, cycle: _Exchange) -> None:
        """Run the application at once, until it waits for something."""
        cycle.is_first_turn = True
        task = begin(cycle.run_asgi(self.app))
        cycle.is_first_turn = False
        if not task.done():
            cycle.flush()
            self._follow(task)

    def _follow(self, task: asyncio.Task[None]) -> None:
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _is_short(self, sent: Mapping[bytes, bytes]) -> bool:
        """Return whether the body of a request, if there is one, will be here in a moment."""
        return (
            b"transfer-encoding" not in sent
            and int(sent.get(b"content-length", 0)) <= _SHORT
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
        )

    def on_response_complete(self) -> None:
        """Begin the next request that is here already, else wait for one."""
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._answered = self.loop.time()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._follow(self.loop.create_task(cycle.run_asgi(app)))
        elif self.timeout_keep_alive_task is None:
            self._await_request(_KEEP_ALIVE)

    def _await_request(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def _unset_keepalive_if_required(self) -> None:
        """Keep the timer: it looks at the time of the last answer when it rings."""

    def timeout_keep_alive_handler(self) -> None:
        left = self._answered + _KEEP_ALIVE - self.loop.time()
        if self.cycle.response_complete and left <= 0:
            super().timeout_keep_alive_handler()
        else:
            self._await_request(max(left, _GRACE))


async def adopt(
    protocol: Callable[[], asyncio.Protocol],
    client: socket.socket,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Serve `client` by a new protocol. Raises OSError (ssl.SSLError is one) when the handshake fails."""
    await asyncio.get_running_loop().connect_accepted_socket(
        protocol, client, ssl=tls, ssl_handshake_timeout=_HANDSHAKE if tls else None
    )


class AsgiServer:
    """The HTTP/1.1 server of one application."""

    def __init__(self, app: ASGIApp, *, reuse: bool = True) -> None:
        """Close each connection after one answer unless `reuse`."""
        self._config = uvicorn.Config(
            app,
            http=_Connection,
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
        self._config.load()
        self._state = ServerState()
        if not reuse:
            self._state.default_headers = [(b"connection", b"close")]

    def protocol(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return _Connection(config=self._config, server_state=self._state, app_state={})

    async def adopt(self, client: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve `client`. Raises OSError when the handshake fails."""
        await adopt(self.protocol, client, tls)

    async def stop(self) -> None:
        """Close every connection, after a moment for answers in progress."""
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=_GRACE)
        for connection in list(self._state.connections):
            connection.transport.abort()
