"""The first bytes of a connection, looked at without being taken from the socket.

The doors decide by them who serves the connection, and then hand the socket on whole. Of a TLS
client its ClientHello tells which protocols it offers (ALPN): gRPC offers HTTP/2 and nothing else,
curl and browsers offer HTTP/1.1 too and are served that. The structure of the message is that of
RFC 8446, section 4.1.2, and RFC 7301.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator

HEAD_LIMIT = 16_384
_PAUSE = 0.002
_LONGEST_PAUSE = 0.1
_TLS_RECORD_LIMIT = 5 + 16_384
_HANDSHAKE = 22
_ALPN = 16


async def start(client: socket.socket) -> bytes:
    """Return the first bytes; of a TLS client its whole ClientHello, as far as it arrives."""
    data = await _peek_until(client, 4, lambda data: len(data) == 4)
    if not data:
        return b""
    return await _peek_until(client, _TLS_RECORD_LIMIT, lambda data: not missing(data))


async def head(client: socket.socket) -> bytes:
    """Return the head of an HTTP request; nothing if there is none, or it is too long."""
    data = await _peek_until(
        client, HEAD_LIMIT, lambda data: b"\r\n\r\n" in data or len(data) == HEAD_LIMIT
    )
    found, end, _ = data.partition(b"\r\n\r\n")
    return found + end if end else b""


async def _peek_until(client: socket.socket, size: int, is_whole: Callable[[bytes], bool]) -> bytes:
    """Return the first bytes once they are whole; nothing if the client sends none.

    A socket with unread bytes is always readable, so that only time tells of more. Slow clients are
    asked more and more rarely.
    """
    pause = _PAUSE
    while (data := await _peek(client, size)) and not is_whole(data):
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return data


async def _peek(client: socket.socket, size: int) -> bytes:
    while True:
        try:
            return client.recv(size, socket.MSG_PEEK)
        except BlockingIOError:
            await readable(client)


async def readable(client: socket.socket) -> None:
    """Wait until `client` has bytes to read or, if it listens, a connection to accept."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_reader(client, arrived.set)
    try:
        await arrived.wait()
    finally:
        loop.remove_reader(client)


def missing(data: bytes) -> int:
    """Return how many bytes the first TLS record lacks; 0 if it is not a handshake."""
    if not data or data[0] != _HANDSHAKE:
        return 0
    if len(data) < 5:
        return 5 - len(data)
    return max(0, 5 + int.from_bytes(data[3:5]) - len(data))


def wants_only_h2(data: bytes) -> bool:
    """Return whether the ClientHello in `data` offers HTTP/2 and nothing else, as gRPC does."""
    try:
        offered = set(_protocols(data))
    except IndexError:
        return False
    return b"h2" in offered and not offered & {b"http/1.1", b"http/1.0"}


def _protocols(data: bytes) -> Iterator[bytes]:
    record = _Reader(data)
    record.take(3)
    message = _Reader(record.vector(2))
    message.take(4)  # type and length
    message.take(2 + 32)  # version and random
    message.vector(1)  # session id
    message.vector(2)  # cipher suites
    message.vector(1)  # compression
    extensions = _Reader(message.vector(2))
    while not extensions.empty:
        kind, content = extensions.number(2), _Reader(extensions.vector(2))
        if kind == _ALPN:
            names = _Reader(content.vector(2))
            while not names.empty:
                yield names.vector(1)


class _Reader:
    """Length-prefixed fields, as TLS nests them. Raises IndexError at the end of the data."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._data):
            raise IndexError
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        """Return what follows a length of `size` bytes."""
        return self.take(self.number(size))

    @property
    def empty(self) -> bool:
        return self._position == len(self._data)
