"""Look at what a client sent without taking it, so that the socket can be handed on whole."""

import asyncio
import socket

from devenv.gcp.intercept import hello

HEAD_LIMIT = 16_384
_PAUSE = 0.002
_TLS_RECORD_LIMIT = 5 + 16_384


async def start(client: socket.socket) -> bytes:
    """Return the first bytes; of a TLS client its whole ClientHello, so far as it arrives."""
    data = await _peek(client, 4)
    while 0 < len(data) < 4 and await _grown(client, data):
        data = await _peek(client, 4)
    size = _TLS_RECORD_LIMIT
    data = await _peek(client, size) if data else b""
    while hello.missing(data) and await _grown(client, data):
        data = await _peek(client, size)
    return data


async def head(client: socket.socket) -> bytes:
    """Return an HTTP request's head with its empty line; nothing if it is none, or too long."""
    data = await _peek(client, HEAD_LIMIT)
    while b"\r\n\r\n" not in data and len(data) < HEAD_LIMIT and await _grown(client, data):
        data = await _peek(client, HEAD_LIMIT)
    found, end, _ = data.partition(b"\r\n\r\n")
    return found + end if end else b""


async def _peek(client: socket.socket, size: int) -> bytes:
    while True:
        try:
            return client.recv(size, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(client)


async def _readable(client: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_reader(client, arrived.set)
    try:
        await arrived.wait()
    finally:
        loop.remove_reader(client)


async def _grown(client: socket.socket, data: bytes) -> bool:
    """Wait a moment for more than `data`. A socket with unread bytes is always readable."""
    if not data:
        return False
    await asyncio.sleep(_PAUSE)
    return True
