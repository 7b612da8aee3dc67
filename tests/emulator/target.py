"""Local servers that receive deliveries and requests in tests."""

import asyncio
import queue
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import uvicorn
from starlette.types import ASGIApp

from tests.waiting import LIMIT


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """Serve `app` in this loop and yield its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="error", ws="none", lifespan="off", access_log=False)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    try:
        yield int(listener.getsockname()[1])
    finally:
        server.force_exit = True
        await server.shutdown(sockets=[listener])


@asynccontextmanager
async def raw(answer: bytes) -> AsyncIterator[int]:
    """Answer whatever comes with these bytes, then close the connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield int(server.sockets[0].getsockname()[1])


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it came; header names are lower-cased."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Worker:
    """Answers with the next status of `script`, with 200 when it is used up.

    A status of 0 is no answer: the request stays open until the worker goes.
    """

    port: int = 0
    script: list[int] = field(default_factory=list)
    arrivals: queue.SimpleQueue[Arrival] = field(default_factory=queue.SimpleQueue)
    gone: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def next(self, seconds: float = LIMIT, *, path: str = "") -> Arrival:
        """Return the next arrival [at a path], waiting for it. Raises queue.Empty.

        Earlier tests may still be called back at the port of a service, by another path: validators
        repeat their callbacks for half a minute.
        """
        while (arrival := self.arrivals.get(timeout=seconds)).path != (path or arrival.path):
            pass
        return arrival

    def has(self, path: str) -> bool:
        """Return whether one of the arrivals that nobody took was at a path, and drop them."""
        paths = [self.arrivals.get().path for _ in range(self.arrivals.qsize())]
        return path in paths


@contextmanager
def working(port: int = 0) -> Iterator[Worker]:
    """Serve in threads of this process, on `port` or any free one."""
    worker = Worker()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = worker.script.pop(0) if worker.script else 200
            worker.arrivals.put(Arrival(self.command, self.path, headers, body))
            if not status:
                worker.gone.wait(LIMIT)
                return
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    worker.port = server.server_port
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield worker
    finally:
        worker.gone.set()
        server.shutdown()
        server.server_close()
