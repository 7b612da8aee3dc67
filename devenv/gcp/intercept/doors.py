"""The two ports on which clients arrive: the plain one and the proxy.

A connection is looked at, not read, and handed on whole: gRPC through a pipe to its server, the
rest to the HTTP server. HTTP/2 alone is gRPC's sign, in clear by its preface, in TLS by ALPN.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

from devenv.gcp.intercept import hello, peek
from devenv.gcp.intercept.hosts import Hosts
from devenv.gcp.intercept.pipe import Pipes
from devenv.gcp.intercept.web import WebServer

type Handler = Callable[[socket.socket], Awaitable[None]]

log = logging.getLogger(__name__)
_LOOPBACK = "127.0.0.1"
_PREFACE = b"PRI "
_HANDSHAKE = 22
_IDLE = 60.0
_PAUSE = 0.1
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_DROPPED = (b"proxy-", b"connection:", b"keep-alive:")


class Listener:
    """Accepts connections on a socket until it is closed."""

    def __init__(self, listening: socket.socket, handle: Handler) -> None:
        self._listening = listening
        self._handle = handle
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept())

    async def close(self) -> None:
        tasks = (self._accepting, *self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listening.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(self._listening)
            except OSError as error:  # too many open files: some will be closed
                log.warning("A connection could not be accepted: %s", error)
                await asyncio.sleep(_PAUSE)
                continue
            task = asyncio.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: socket.socket) -> None:
        """Hand `client` on; the socket is ours to close only if nobody took it."""
        try:
            await self._handle(client)
        except ssl.SSLError as error:
            log.warning("A TLS client turned away, perhaps without our CA bundle: %s", error.reason)
            client.close()
        except (OSError, TimeoutError, asyncio.CancelledError) as error:
            log.debug("A connection ended before it was served: %r", error)
            client.close()


class PlainDoor:
    """Serves gRPC, HTTP/1.1 and both under TLS, whichever the client begins to speak."""

    def __init__(
        self, *, web: WebServer, tls: ssl.SSLContext, grpc_port: int, grpc_tls_port: int
    ) -> None:
        self._web = web
        self._tls = tls
        self._grpc_port = grpc_port
        self._grpc_tls_port = grpc_tls_port
        self.pipes = Pipes()

    async def handle(self, client: socket.socket) -> None:
        """Serve a new connection. Raises OSError or TimeoutError."""
        async with asyncio.timeout(_IDLE):
            first = await peek.start(client)
        if not first:
            client.close()
        elif first.startswith(_PREFACE):
            await self.pipes.connect(client, _LOOPBACK, self._grpc_port)
        elif first[0] != _HANDSHAKE:
            await self._web.adopt(client)
        elif hello.wants_only_h2(first):
            await self.pipes.connect(client, _LOOPBACK, self._grpc_tls_port)
        else:
            await self._web.adopt(client, self._tls)


class ProxyDoor:
    """An HTTP proxy: emulated hosts end here, others are refused by name."""

    def __init__(self, *, hosts: Hosts, plain: PlainDoor, forward: WebServer) -> None:
        """`forward` answers plain requests for emulated hosts, one a connection."""
        self._hosts = hosts
        self._plain = plain
        self._forward = forward

    async def handle(self, client: socket.socket) -> None:
        """Serve a new connection. Raises OSError or TimeoutError."""
        async with asyncio.timeout(_IDLE):
            head = await peek.head(client)
        verb, _, rest = head.partition(b" ")
        target = rest.partition(b" ")[0].decode("latin-1")
        try:
            parts = urlsplit(f"//{target}" if verb == b"CONNECT" else target)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port = "", None
        if not host:
            await _refuse(client, 400, "This is a proxy; it needs CONNECT or an absolute URL")
        elif not self._hosts.emulated(host) and not self._hosts.passed(host):
            log.warning("Refused %s", host)
            await _refuse(client, 503, self._hosts.refusal(host))
        elif verb == b"CONNECT":
            await self._tunnel(client, head, host, port or 443)
        else:
            await self._request(client, head, host, port or 80)

    async def _tunnel(self, client: socket.socket, head: bytes, host: str, port: int) -> None:
        client.recv(len(head))
        if self._hosts.emulated(host):
            await asyncio.get_running_loop().sock_sendall(client, _ESTABLISHED)
            await self._plain.handle(client)
        else:
            await self._join(client, host, port, greeting=_ESTABLISHED)

    async def _request(self, client: socket.socket, head: bytes, host: str, port: int) -> None:
        if self._hosts.emulated(host):
            await self._forward.adopt(client)
        else:
            client.recv(len(head))
            await self._join(client, host, port, first=_origin_form(head))

    async def _join(
        self,
        client: socket.socket,
        host: str,
        port: int,
        *,
        greeting: bytes = b"",
        first: bytes = b"",
    ) -> None:
        try:
            await self._plain.pipes.connect(client, host, port, greeting=greeting, first=first)
        except OSError as error:
            reason = f"{host}:{port} cannot be reached: {error.strerror or error}"
            await _refuse(client, 502, reason)


def _origin_form(head: bytes) -> bytes:
    """Rewrite a proxy's request for the server itself, which is to close when it has answered."""
    line, *headers = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    verb, target, version = line.split(b" ", 2)
    parts = urlsplit(target)
    path = (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")
    kept = [header for header in headers if not header.lower().startswith(_DROPPED)]
    lines = [b" ".join((verb, path, version)), *kept, b"Connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def _refuse(client: socket.socket, status: int, reason: str) -> None:
    """Answer with `reason` in the status line too: of a failed CONNECT clients show only that."""
    body = f"{reason}.\n".encode()
    clean = reason.encode("ascii", "replace").replace(b"\r", b" ").replace(b"\n", b" ")
    answer = (
        b"HTTP/1.1 %d %s\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n"
        b"connection: close\r\n\r\n%s"
    ) % (status, clean, len(body), body)
    with suppress(BlockingIOError):  # closing over unread bytes would take the answer back
        client.recv(peek.HEAD_LIMIT)
    await asyncio.get_running_loop().sock_sendall(client, answer)
    client.close()
