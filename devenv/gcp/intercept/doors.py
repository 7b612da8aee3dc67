"""The ports on which clients arrive: the plain port, and the proxy.

A connection is looked at, not read, and handed on whole, to the gRPC server or the HTTP server. A
client that speaks HTTP/2 alone is a gRPC client; this
shows by the preface in clear text, and by ALPN in TLS. On the proxy, connections to emulated hosts
end here as if they had come to the plain port. Other hosts are reached through a pipe if they are
allowed, and refused by name if not, so that nothing leaves this machine unnoticed.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

from devenv.gcp.intercept import peek
from devenv.gcp.intercept.router import Hosts
from devenv.gcp.intercept.web import AsgiServer, adopt
from devenv.gcp.journal import Journal

Handler: TypeAlias = Callable[[socket.socket], Awaitable[None]]

log = logging.getLogger(__name__)
_PREFACE = b"PRI "
_HANDSHAKE = 22
_IDLE = 60.0
_PAUSE = 0.1
_MOST_READ = 64  # times that unread bytes of a refused request are taken from the socket
_BUFFER = 1 << 20
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
_DROPPED = (b"proxy-", b"connection:", b"keep-alive:")


class SocketListener:
    """A listening socket whose connections are handed to `handle`."""

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
        while True:
            try:
                client = await self._next()
            except OSError as error:  # too many open files: some will be closed
                log.warning("A connection could not be accepted: %s", error)
                await asyncio.sleep(_PAUSE)
                continue
            except Exception:  # whatever it is, the next connection may be accepted
                log.exception("A connection could not be accepted")
                await asyncio.sleep(_PAUSE)
                continue
            task = asyncio.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _next(self) -> socket.socket:
        """Return the next connection.

        It gets the class of the listening socket. `accept` would take the present `socket.socket`,
        which pytest-socket replaces by a class that cannot be made while a test may have no
        sockets; the connection would then stay open without an owner.
        """
        listening: Any = self._listening  # typeshed does not know `_accept`
        kind = listening.family, listening.type, listening.proto
        while True:
            with suppress(BlockingIOError):
                descriptor, _ = listening._accept()  # noqa: SLF001 - the one that leaves the class to us
                client: socket.socket = type(listening)(*kind, fileno=descriptor)
                client.setblocking(False)
                return client
            await peek.readable(self._listening)

    async def _serve(self, client: socket.socket) -> None:
        """Hand `client` on; close the socket if that fails."""
        try:
            await self._handle(client)
        except ssl.SSLError as error:
            log.warning("A TLS client turned away, perhaps without our CA bundle: %s", error.reason)
            client.close()
        except (OSError, TimeoutError, asyncio.CancelledError) as error:
            log.debug("A connection ended before it was served: %r", error)
            client.close()
        except Exception:
            log.exception("A connection could not be served")
            client.close()


class _End(asyncio.Protocol):
    """One side of a pipe; it writes what it receives to the other side at once.

    When one side ends, the whole pipe closes once the rest is written: no protocol that passes here
    (TLS, HTTP/2, HTTP/1.1) continues after that.
    """

    def __init__(self, ends: "set[_End]") -> None:
        """Keep the end in `ends` while it is open."""
        self._ends = ends
        self.transport: asyncio.Transport
        self._other: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.pause_reading()
        self.transport.set_write_buffer_limits(high=_BUFFER)
        self._ends.add(self)

    def join(self, other: "_End") -> None:
        self._other = other.transport
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._other.write(data)

    def pause_writing(self) -> None:
        self._other.pause_reading()

    def resume_writing(self) -> None:
        self._other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ends.discard(self)
        self._other.close()


class Pipes:
    """The open pipes between clients and servers."""

    def __init__(self) -> None:
        self._ends: set[_End] = set()

    async def connect(
        self,
        client: socket.socket,
        host: str,
        port: int,
        *,
        greeting: bytes = b"",
        first: bytes = b"",
    ) -> None:
        """Join `client` with a new connection to `host`. Raises OSError.

        The client gets `greeting`, the host `first`, before anything else passes.
        """
        loop = asyncio.get_running_loop()
        upward, far = await loop.create_connection(self._end, host, port)
        try:
            downward, near = await loop.connect_accepted_socket(self._end, client)
        except BaseException:  # cancelled, perhaps: no task knows the other end yet
            upward.abort()
            raise
        upward.write(first)
        downward.write(greeting)
        far.join(near)
        near.join(far)

    def close(self) -> None:
        """Abort all connections."""
        for end in list(self._ends):
            end.transport.abort()

    def _end(self) -> _End:
        return _End(self._ends)


class PlainDoor:
    """The port for gRPC and HTTP/1.1, in clear text and under TLS."""

    def __init__(
        self,
        *,
        web: AsgiServer,
        tls: ssl.SSLContext,
        grpc: Callable[[], asyncio.Protocol],
        grpc_tls: ssl.SSLContext,
    ) -> None:
        """Serve gRPC by the protocols that `grpc` makes."""
        self._web = web
        self._tls = tls
        self._grpc = grpc
        self._grpc_tls = grpc_tls
        self.pipes = Pipes()

    async def handle(self, client: socket.socket) -> None:
        """Serve a new connection. Raises OSError or TimeoutError."""
        async with asyncio.timeout(_IDLE):
            first = await peek.start(client)
        if not first:
            client.close()
        elif first.startswith(_PREFACE):
            await adopt(self._grpc, client)
        elif first[0] != _HANDSHAKE:
            await self._web.adopt(client)
        elif peek.wants_only_h2(first):
            await adopt(self._grpc, client, self._grpc_tls)
        else:
            await self._web.adopt(client, self._tls)


class ProxyDoor:
    """The HTTP proxy, which serves emulated hosts itself."""

    def __init__(
        self, *, hosts: Hosts, plain: PlainDoor, forward: AsgiServer, journal: Journal
    ) -> None:
        """Answer plain requests for emulated hosts by `forward`, one per connection."""
        self._journal = journal
        self._hosts = hosts
        self._plain = plain
        self._forward = forward

    async def handle(self, client: socket.socket) -> None:
        """Serve a new connection. Raises OSError or TimeoutError."""
        try:
            async with asyncio.timeout(_IDLE):
                head = await peek.head(client)
        except TimeoutError:
            if _has_sent(client):  # and not one that keeps a connection for later
                await self._refuse(client, b"", 408, "The head of the request has not come in time")
            raise
        verb, _, rest = head.partition(b" ")
        target = rest.partition(b" ")[0].decode("latin-1")
        try:
            parts = urlsplit(f"//{target}" if verb == b"CONNECT" else target)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port = "", None
        if not host:
            reason = "This is a proxy; it needs CONNECT or an absolute URL"
            if not head:
                reason += f" in a head of at most {peek.HEAD_LIMIT} bytes"
            await self._refuse(client, head, 400, reason)
        elif not self._hosts.emulated(host) and not self._hosts.passed(host):
            log.warning("Refused %s", host)
            await self._refuse(client, head, 503, self._hosts.refusal(host))
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
            await self._join(client, head, host, port, greeting=_ESTABLISHED)

    async def _request(self, client: socket.socket, head: bytes, host: str, port: int) -> None:
        if self._hosts.emulated(host):
            await self._forward.adopt(client)
        else:
            client.recv(len(head))
            await self._join(client, head, host, port, first=_origin_form(head))

    async def _join(
        self,
        client: socket.socket,
        head: bytes,
        host: str,
        port: int,
        *,
        greeting: bytes = b"",
        first: bytes = b"",
    ) -> None:
        try:
            await self._plain.pipes.connect(client, host, port, greeting=greeting, first=first)
        except (OSError, UnicodeError) as error:  # the name may be none of a host
            what = error.strerror if isinstance(error, OSError) else ""
            reason = f"{host}:{port} cannot be reached: {what or error}"
            await self._refuse(client, head, 502, reason)

    async def _refuse(self, client: socket.socket, head: bytes, status: int, reason: str) -> None:
        """Answer a request with an error, and record it if there is one."""
        if head or _has_sent(client):
            self._journal.add_refusal(*_request_of(head or b"-"), status)
        await _answer(client, status, reason)


def _origin_form(head: bytes) -> bytes:
    """Return a proxy's request in the form for the server, which must close after its answer."""
    line, *headers = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    verb, target, version = line.split(b" ", 2)
    parts = urlsplit(target)
    path = (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")
    kept = [header for header in headers if not header.lower().startswith(_DROPPED)]
    lines = [b" ".join((verb, path, version)), *kept, b"Connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _has_sent(client: socket.socket) -> bool:
    """Return whether a client has sent anything that was not taken from its socket."""
    with suppress(OSError):
        return bool(client.recv(1, socket.MSG_PEEK))
    return False


def _request_of(head: bytes) -> tuple[str, str, str]:
    """Return method, host and path of a request to the proxy, whatever a client sends as such."""
    verb, _, rest = head.decode("latin-1").partition("\r\n")[0].partition(" ")
    target = rest.partition(" ")[0]
    _, is_url, rest = target.partition("://")
    if not is_url:
        return verb, "", target
    host, slash, path = rest.partition("/")
    return verb, host, slash + path.partition("?")[0]


async def _answer(client: socket.socket, status: int, reason: str) -> None:
    """Answer with `reason`, in the status line too: clients show only that of a failed CONNECT."""
    body = f"{reason}.\n".encode()
    clean = reason.encode("ascii", "replace").replace(b"\r", b" ").replace(b"\n", b" ")
    answer = (
        b"HTTP/1.1 %d %s\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n"
        b"connection: close\r\n\r\n%s"
    ) % (status, clean, len(body), body)
    with suppress(BlockingIOError):  # closing over unread bytes would take the answer back
        for _ in range(_MOST_READ):
            if not client.recv(peek.HEAD_LIMIT):
                break
    await asyncio.get_running_loop().sock_sendall(client, answer)
    client.close()
