"""Bytes between two sockets, as cheaply as the event loop can move them."""

import asyncio
import socket
from typing import cast

_BUFFER = 1 << 20


class _End(asyncio.Protocol):
    """One side; what it receives is written to the other at once, without a copy.

    When one side has no more to say the whole pipe closes once the rest is written: no protocol
    that passes here (TLS, HTTP/2, HTTP/1.1) goes on after that.
    """

    def __init__(self, ends: "set[_End]") -> None:
        """The end is in `ends` for as long as it is open."""
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
    """The pipes that are open."""

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

        The client is told `greeting`, the host `first`, before anything else passes.
        """
        loop = asyncio.get_running_loop()
        upward, far = await loop.create_connection(self._end, host, port)
        try:
            downward, near = await loop.connect_accepted_socket(self._end, client)
        except BaseException:  # cancelled, perhaps: nobody else knows of the other end yet
            upward.abort()
            raise
        upward.write(first)
        downward.write(greeting)
        far.join(near)
        near.join(far)

    def close(self) -> None:
        """Break off everything that passes."""
        for end in list(self._ends):
            end.transport.abort()

    def _end(self) -> _End:
        return _End(self._ends)
