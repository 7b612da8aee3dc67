"""The way of one request to a local server, and of its answer back: headers and both bodies.

Both bodies are streamed, so that neither has a limit. Headers that are for one connection only are
dropped; those that tell where a request comes from are set anew, because a client could have
invented them. When the client goes, the connection to the server is broken off: an endless answer
must not outlive the client who asked for it. An answer may arrive before the request has ended,
and is passed on.
"""

import asyncio
import secrets
from collections.abc import Iterable

from starlette.types import Receive, Scope, Send

from devenv.gcp.forward.connection import (
    Connection,
    Origin,
    Pool,
    RawHeaders,
    framing,
    request_head,
)
from devenv.gcp.journal import trace_of

_HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
        *(
            b"proxy-connection",
            b"te",
            b"trailer",
            b"transfer-encoding",
            b"upgrade",
            b"expect",
        ),  # codespell:ignore te
    }
)


class Passage:
    """A request on its way; `begun` tells whether the client has the beginning of an answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._method: str = scope["method"]
        self._receive = receive
        self._send = send
        self._uploading = False
        self.begun = False

    async def carry(self, pool: Pool, origin: Origin, target: str, headers: RawHeaders) -> None:
        """Send the request to `origin` and the answer to the client. Raises NoAnswer."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            return
        first, more = message.get("body", b""), message.get("more_body", False)
        frame = framing(headers, first=first, more=more, method=self._method)
        chunked = more and bool(frame)
        payload = request_head(self._method, target, headers + frame)
        payload += _chunk(first) if chunked else first
        bodiless = self._method == "HEAD"
        if more:
            connection = await pool.begin(origin, payload, bodiless=bodiless)
            self._uploading = True
            feed = asyncio.create_task(self._upload(connection, chunked=chunked))
        else:
            connection = await pool.exchange(origin, payload, bodiless=bodiless)
            feed = None
        try:
            await self._download(connection, feed)
        finally:
            if self._uploading:
                connection.abort("The answer came before the end of the request.")
            pool.release(origin, connection)

    async def answer(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Send an answer of our own."""
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def _download(self, connection: Connection, feed: asyncio.Task[None] | None) -> None:
        try:
            await connection.head()
            if not connection.complete and not feed:
                feed = asyncio.create_task(self._watch(connection))
            await self._answer(connection)
        finally:
            if feed:
                feed.cancel()
                await asyncio.wait([feed])

    async def _answer(self, connection: Connection) -> None:
        headers = [(name.lower(), value) for name, value in end_to_end(connection.headers)]
        self.begun = True
        await self._send(
            {"type": "http.response.start", "status": connection.status, "headers": headers}
        )
        more = True
        while more:
            body = await connection.read()
            more = not connection.exhausted
            await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _upload(self, connection: Connection, *, chunked: bool) -> None:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                connection.abort("The client disconnected.")
                return
            more = message.get("more_body", False)
            if body := message.get("body", b""):
                connection.write(_chunk(body) if chunked else body)
                await connection.drain()
        if chunked:
            connection.write(b"0\r\n\r\n")
        self._uploading = False
        await self._watch(connection)

    async def _watch(self, connection: Connection) -> None:
        """Break off the connection when the client goes."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        connection.abort("The client disconnected.")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return the headers that are not for one connection only."""
    return [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]


def with_origin(headers: RawHeaders, *, host: str, client: str) -> RawHeaders:
    """Return the headers with new ones that tell where the request comes from."""
    replaced = (b"host", b"x-forwarded-for", b"x-forwarded-proto", b"forwarded")
    kept = [(name, value) for name, value in headers if name.lower() not in replaced]
    hops = [value for name, value in headers if name.lower() == b"x-forwarded-for"]
    return [
        (b"host", host.encode()),
        *kept,
        (b"x-forwarded-for", b", ".join([*hops, client.encode()])),
        (b"x-forwarded-proto", b"https"),
        (b"forwarded", f'for="{client}";proto=https'.encode()),
        *_trace(kept),
    ]


def _trace(headers: RawHeaders) -> RawHeaders:
    """Return the trace headers that a request lacks, of the trace that it names or of a new one."""
    present = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in headers}
    trace, span = trace_of(present) or secrets.token_hex(16), secrets.randbits(63) + 1
    added = [
        (b"x-cloud-trace-context", f"{trace}/{span};o=0".encode()),
        (b"traceparent", f"00-{trace}-{span:016x}-00".encode()),
    ]
    return [pair for pair in added if pair[0].decode() not in present]
