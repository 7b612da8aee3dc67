"""Tells Cloud Run, a process manager or an operator over HTTP whether the worker serves."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

PATH = "/health/"
_REQUEST_SECONDS = 5.0


@asynccontextmanager
async def health(
    complaint: Callable[[], Awaitable[str]], *, host: str, port: int
) -> AsyncIterator[int]:
    """Answer GET /health/ as long as one is inside; yields the port, which 0 leaves to the system."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                line = await reader.readline()
                status, text = await _judge(line, complaint)
                writer.write(_response(status, text))
                await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass  # whoever asked is gone, too slow, or speaks something else
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, port, limit=8192)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _judge(line: bytes, complaint: Callable[[], Awaitable[str]]) -> tuple[HTTPStatus, str]:
    method, _, rest = line.decode("latin-1").partition(" ")
    path = rest.split(" ")[0].partition("?")[0]
    if path != PATH:
        return HTTPStatus.NOT_FOUND, f"only {PATH} is here"
    if method not in ("GET", "HEAD"):
        return HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered"
    said = await complaint()
    return (HTTPStatus.SERVICE_UNAVAILABLE, said) if said else (HTTPStatus.OK, "ok")


def _response(status: HTTPStatus, text: str) -> bytes:
    body = json.dumps({"status": text}).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
