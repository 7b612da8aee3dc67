"""One request on its way to a local port, and its answer back: both streamed."""

import asyncio

from starlette.types import Receive, Scope, Send

from devenv.gcp.forward.connection import Connection, RawHeaders
from devenv.gcp.forward.headers import end_to_end, framing
from devenv.gcp.forward.pool import Origin, Pool, request_head


class Passage:
    """`begun` is whether the client has got the beginning of an answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._method: str = scope["method"]
        self._receive = receive
        self._send = send
        self._uploading = False
        self.begun = False

    async def carry(self, pool: Pool, origin: Origin, target: str, headers: RawHeaders) -> None:
        """Raises NoAnswer."""
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
        """Answer in the server's stead."""
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
                connection.abort("The client went away.")
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
        """Break off when the client goes: an endless answer must not outlive it."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        connection.abort("The client went away.")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
