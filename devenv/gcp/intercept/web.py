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
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from typing import Any
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

from devenv.gcp.turns import begin

_KEEP_ALIVE = 620
_HANDSHAKE = 10.0
_GRACE = 0.2
_SHORT = 64 * 1024  # bytes of a body that the application need not begin without
_LONGEST_HEAD = 512 * 1024  # bytes of a head that does not end, and of what came with its beginning
_COPIED = 64 * 1024  # bytes of a body that are copied behind the head
# The system would let megabytes wait for a client, and send them while that reads, in its time.
_SEND_BUFFER = 512 * 1024
_ASGI: Any = {"version": "3.0", "spec_version": "2.3"}
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux only
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_FRAMING = frozenset((b"connection", b"content-length", b"date", b"transfer-encoding"))


@lru_cache(maxsize=1024)
def _line(name: bytes, value: bytes) -> bytes:
    """Return the line of a header, most of which come again and again. Raises RuntimeError."""
    if _CONTROL.search(value) or not _NAME.fullmatch(name):
        raise RuntimeError(f"The header {name!r} has a name or value that HTTP forbids.")
    return b"%b: %b\r\n" % (name, value)


@lru_cache(maxsize=1)
def _date_line(second: int) -> bytes:
    return b"date: %b\r\n" % formatdate(second, usegmt=True).encode()


class _Exchange(RequestResponseCycle):
    """A request and its answer. The head is held until the body begins, or the loop's next turn."""

    _head = b""

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.response_started and kind == "http.response.start":
            self._begin(message["status"], message.get("headers", ()))
        elif self.response_started and not self.response_complete and kind == "http.response.body":
            self._continue(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"The message {kind!r} is not expected at this point of the answer.")

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        # A client that was not told to continue sends its body or not (RFC 9110, section 10.1.1), so
        # nobody could tell where its next request begins.
        is_body_unsure = self.waiting_for_100_continue and self.more_body
        self.keep_alive = self.keep_alive and not is_body_unsure
        self.response_started, self.waiting_for_100_continue = True, False
        lines, framing = [STATUS_LINE[status]], []
        for key, value in (*self.default_headers, *headers):
            name = key.lower()
            lines.append(_line(name, value))
            if name in _FRAMING:
                framing.append((name, value))
        lines += self._framing_lines(framing, has_body=status not in (204, 304))
        self._head = b"".join(lines)
        self._timer = asyncio.get_running_loop().call_soon(self._flush)

    def _framing_lines(
        self, sent: Iterable[tuple[bytes, bytes]], *, has_body: bool
    ) -> Iterator[bytes]:
        """Learn from headers how the body is sent, and yield the lines that they lack."""
        closes = is_dated = False
        for name, value in sent:
            if name == b"content-length" and self.chunked_encoding is None:
                self.expected_content_length, self.chunked_encoding = int(value), False
            elif name == b"transfer-encoding" and value.lower() == b"chunked":
                self.expected_content_length, self.chunked_encoding = 0, True
            closes = closes or (name == b"connection" and b"close" in value.lower())
            is_dated = is_dated or name == b"date"
        self.keep_alive = self.keep_alive and not closes
        if not is_dated:
            yield _date_line(int(time.time()))
        if not self.keep_alive and not closes:
            yield b"connection: close\r\n"
        if self.chunked_encoding is None and has_body and self.scope["method"] != "HEAD":
            self.chunked_encoding = True
            yield b"transfer-encoding: chunked\r\n"
        yield b"\r\n"

    def _flush(self) -> None:
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
    """

    _waiting: RequestResponseCycle | None = None
    _answered = 0.0
    _is_in_head = False
    _head_size = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._socket = transport.get_extra_info("socket")
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

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
        self.expect_100_continue = False
        self._is_in_head = True

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self.transport.is_closing():
            return  # its client gets no answer, and sends it again
        version, url = self.parser.get_http_version(), httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        if "%" in path:
            path = unquote_to_bytes(url.path).decode("utf-8", "replace")
        scope: Any = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "method": self.parser.get_method().decode("ascii"),
            "path": path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self.headers,
        }
        self.scope = scope
        before: RequestResponseCycle | None = self.cycle  # uvicorn types it without None
        self.cycle = _Exchange(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before and not before.response_complete:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        elif self._is_short():
            self._waiting = self.cycle
        else:
            self._run(self.cycle)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self._waiting:
            cycle, self._waiting = self._waiting, None
            self._run(cycle)

    def _run(self, cycle: RequestResponseCycle) -> None:
        """Run the application at once, until it waits for something."""
        task = begin(cycle.run_asgi(self.app))
        if not task.done():
            self._follow(task)

    def _follow(self, task: asyncio.Task[None]) -> None:
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _is_short(self) -> bool:
        """Return whether the body of this request, if there is one, will be here in a moment."""
        size = 0
        for name, value in self.headers:
            if name == b"content-length":
                size = int(value)
            elif name == b"transfer-encoding":
                return False
        return size <= _SHORT and not self.expect_100_continue and not self.parser.should_upgrade()

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
