"""The HTTP/1.1 server behind the doors: uvicorn's protocol, which takes few turns for a short call.

A client on a busy machine waits for each turn that the server needs. So the application begins when
the whole of a short request is there, and runs on as far as it need not wait. Connections are kept
longer than any client keeps them, so that none is closed under a request. A request that cannot be
read, or whose rest does not come, is answered with the reason and is in the journal.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeAlias
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

from devenv.gcp.intercept.http_exchange import HttpExchange
from devenv.gcp.turns import begin

_KEEP_ALIVE = 620
_HANDSHAKE = 10.0
_GRACE = 0.2
_SHORT = 64 * 1024  # bytes of a body that the application need not begin without
_LONGEST_HEAD = 512 * 1024  # bytes of a head that does not end, and of what came with its beginning
_HEAD_SECONDS = 60.0  # in which a head must be whole
_BODY_SECONDS = 300.0  # without any bytes of a body that is not whole
_ASGI: Any = {"version": "3.0", "spec_version": "2.3"}
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux only
_CONGESTION = getattr(socket, "TCP_CONGESTION", None)  # likewise

Refused: TypeAlias = Callable[[str, str, str, int], None]
"""It is told verb, host, path and status of a request that is refused unread."""


@lru_cache(maxsize=1024)
def _unquoted(path: bytes) -> str:
    """Return a path as text. Raises UnicodeDecodeError."""
    text = path.decode("ascii")
    return unquote_to_bytes(text).decode("utf-8", "replace") if "%" in text else text


class _Connection(HttpToolsProtocol):
    """A client's connection.

    It acknowledges received bytes at once. urllib3 leaves Nagle's algorithm on when it talks to a
    proxy, so a request's body waits until its head is acknowledged; the system would let it wait
    40 ms. A whole request is acknowledged by its answer.

    Bytes that stay on this machine need no pacing. Where BBR is the system's choice, its timers take a
    twentieth of the time of a large download, most of it from the client.
    """

    _waiting: HttpExchange | None = None
    _answered = 0.0
    _is_in_head = False
    _is_in_message = False
    _head_size = 0
    _begun = _heard = 0.0  # when the head began, and when the last bytes came
    _rest_timer: asyncio.TimerHandle | None = None

    def __init__(self, refused: Refused, **options: Any) -> None:
        super().__init__(**options)
        self._refused = refused
        self.url, self.headers = b"", []

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
        if self._rest_timer:
            self._rest_timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # answered as if it had asked for no other protocol
            pass
        except httptools.HttpParserError as error:
            self._refuse(400, f"The HTTP request cannot be read: {_problem(error)}.")
            return
        if self._is_in_message:
            self._heard = self.loop.time()
            if self._rest_timer is None:
                self._wait_for_rest(_HEAD_SECONDS if self._is_in_head else _BODY_SECONDS)
        self._head_size = self._head_size + len(data) if self._is_in_head else 0
        if self._head_size > _LONGEST_HEAD and not self.transport.is_closing():
            self._refuse(400, f"The head of the request is longer than {_LONGEST_HEAD} bytes.")
        # uvicorn has no cycle until the first head is whole, which its types do not say.
        if _QUICKACK is not None and getattr(self.cycle, "more_body", True):
            with suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def on_message_begin(self) -> None:
        self.url, self.headers = b"", []
        self._is_in_head = self._is_in_message = True
        self._begun = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:  # nobody reads the trailers behind a body
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
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
        self.cycle = HttpExchange(self, keep_alive=keep_alive)
        self._is_in_head = False
        if before and not before.response_complete:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))
        elif self._is_short(sent):
            self._waiting = self.cycle
        else:
            self._run(self.cycle)

    def on_message_complete(self) -> None:
        self._is_in_message = False
        if self.cycle.response_complete:
            return
        self.cycle.more_body = False
        self.cycle.message_event.set()
        if self._waiting:
            cycle, self._waiting = self._waiting, None
            self._run(cycle)

    def _run(self, cycle: HttpExchange) -> None:
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

    def _wait_for_rest(self, seconds: float) -> None:
        self._rest_timer = self.loop.call_later(seconds, self._check_rest)

    def _check_rest(self) -> None:
        """End the connection if the rest of a request has not come in time."""
        self._rest_timer = None
        if not self._is_in_message or self.transport.is_closing():
            return
        now, is_busy = self.loop.time(), self.flow.read_paused
        begun, most = (
            (self._begun, _HEAD_SECONDS) if self._is_in_head else (self._heard, _BODY_SECONDS)
        )
        left = most if is_busy else begun + most - now
        if left > 0:
            self._wait_for_rest(left)
        else:
            self._refuse(408, f"The rest of the request has not come within {most:.0f} seconds.")

    def _refuse(self, status: int, reason: str) -> None:
        """Close the connection with the reason, and record a request that no application has."""
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn types it without None
        if self._is_in_head or self._waiting or cycle is None:
            verb = self.parser.get_method().decode("latin-1") if self.url else "-"
            host = dict(self.headers).get(b"host", b"").decode("latin-1").partition(":")[0]
            path = self.url.decode("latin-1").partition("?")[0]
            self._refused(verb, host, path, status)
            self._waiting = None
        if self._is_in_head:
            is_turn = cycle is None or cycle.response_complete
        else:
            is_turn = not self.pipeline and not (cycle and cycle.response_started)
        if is_turn:
            self.transport.write(_refusal(status, reason))
        self.transport.close()

    def _unset_keepalive_if_required(self) -> None:
        """Keep the timer: it looks at the time of the last answer when it rings."""

    def timeout_keep_alive_handler(self) -> None:
        left = self._answered + _KEEP_ALIVE - self.loop.time()
        if self.cycle.response_complete and left <= 0:
            super().timeout_keep_alive_handler()
        else:
            self._await_request(max(left, _GRACE))


def _problem(error: httptools.HttpParserError) -> str:
    """Return what is wrong with a request; what our own methods raise is in the error's context."""
    is_ours = isinstance(error, httptools.HttpParserCallbackError)
    return "its URL is not valid" if is_ours else str(error)


def _refusal(status: int, reason: str) -> bytes:
    """Return a whole answer, after which the connection is closed."""
    body = f"{reason}\n".encode()
    lines = (
        b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n"
    )
    return b"%b%b\r\n%b" % (STATUS_LINE[status], lines % len(body), body)


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

    def __init__(self, app: ASGIApp, refused: Refused, *, reuse: bool = True) -> None:
        """Close each connection after one answer unless `reuse`."""
        self._refused = refused
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
        return _Connection(
            self._refused, config=self._config, server_state=self._state, app_state={}
        )

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
