"""Django under ASGI: threads for requests, the event loop for everything that waits.

Django's own handler runs middleware in the event loop, visits a thread for each of its halves and
makes that thread, with its database wrapper, anew for every request; that costs more than our views
do. Here one thread runs middleware and view. A view must not keep its thread while it waits: it
returns a `DeferredResponse`, which waits in the event loop.
Health probes have threads of their own and never queue behind requests.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from functools import partial
from io import BytesIO
from typing import IO, Any, cast

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.http import FileResponse, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

type Message = Mapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]

# As many requests as Cloud Run sends to one instance, unless told otherwise.
_REQUEST_THREADS = 80
_PROBE_THREADS = 2
# Views answer to the headers of a request with a larger body, if they can, before it is received.
LARGE_BODY = 8 * 1024 * 1024
# How much of a body that nobody reads is received and dropped.
_DROPPED_BYTES = 1024 * 1024 * 1024


class DeferredResponse(HttpResponse):
    """A response that is not known yet: `wait` returns it and runs in the event loop.

    Headers and cookies that middleware sets on this response are carried over to the final one.
    """

    def __init__(self, wait: Callable[[], Awaitable[HttpResponse]], *, status: int) -> None:
        super().__init__(status=status)
        self._wait = wait
        self.on_complete: list[Callable[[HttpResponseBase], None]] = []

    async def final(self) -> HttpResponse:
        """Return the final response and tell `on_complete` about it."""
        final = await self._wait()
        final.headers["Content-Length"] = str(len(final.content))
        for name, value in self.headers.items():
            final.headers.setdefault(name, value)
        final.cookies.update(self.cookies)
        for callback in self.on_complete:
            callback(final)
        return final


class BodyNeeded(BaseException):
    """A view reads the body of a request before it was received.

    Not an Exception, because Django would answer 500, and no view is to catch it.
    """


class UnreadBody:
    """The body of a request that has not been received."""

    def read(self, *_args: int) -> bytes:
        """Raise BodyNeeded."""
        raise BodyNeeded


class ThreadedHandler(ASGIHandler):
    """Runs a request in a thread from its first signal to its last; the event loop sends.

    Django's own `handle` takes a new thread for each of the two signals and keeps a task that waits
    for the client to leave. Here only an answer that takes its time has such a task.
    """

    def __init__(self, threads: int = _REQUEST_THREADS) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self._requests = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._probes = ThreadPoolExecutor(_PROBE_THREADS, thread_name_prefix="probe")

    async def handle(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        threads = self._probes if scope["path"].startswith("/health/") else self._requests
        is_large = declared_length(scope) > LARGE_BODY
        if is_large and await self._answer_by_headers(scope, threads, receive, send):
            return
        try:
            body_file = await self.read_body(receive)
        except RequestAborted:
            return
        with closing(body_file):
            response = await in_thread(self.respond, threads)(scope, body_file)
            if response.streaming or isinstance(response, DeferredResponse):
                await self._send_unless_gone(response, receive, send)
            else:
                await self.send_response(response, send)

    async def _answer_by_headers(
        self,
        scope: Mapping[str, Any],
        threads: ThreadPoolExecutor,
        receive: Receive,
        send: Send,
    ) -> bool:
        """Send the answer of a view that does not read the body, then drop it; return whether it is so.

        A refusal for reasons that the headers tell so arrives before a large file was sent. A view that
        reads the body runs again once it has been received.
        """
        try:
            response = await in_thread(self.respond, threads)(
                scope, cast("IO[bytes]", UnreadBody())
            )
        except BodyNeeded:
            return False
        if isinstance(response, DeferredResponse):
            response = await response.final()
        try:
            await self.send_response(response, send)
        finally:
            if response.streaming:
                await in_thread(response.close)()
        await drain(receive)
        return True

    def respond(self, scope: Mapping[str, Any], body_file: IO[bytes]) -> HttpResponseBase:
        """Return the response; it is closed, unless it is streamed."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, refusal = self.create_request(scope, body_file)
        response = self.get_response(request) if request else refusal
        assert response is not None
        response._handler_class = self.__class__  # type: ignore[attr-defined]  # noqa: SLF001
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        if not response.streaming:
            response.close()
        return response

    async def _send_unless_gone(
        self, response: HttpResponseBase, receive: Receive, send: Send
    ) -> None:
        """Send an answer that takes its time, and give it up when the client leaves."""
        try:
            async with asyncio.TaskGroup() as group:
                leaving = group.create_task(self.listen_for_disconnect(receive))
                if isinstance(response, DeferredResponse):
                    await self.send_response(await response.final(), send)
                else:
                    await self.send_response(response, send)
                leaving.cancel()
        except* RequestAborted:
            pass
        finally:
            if response.streaming:
                await in_thread(response.close)()

    async def read_body(self, receive: Receive) -> IO[bytes]:
        """Return the body; one that comes in a single message needs no temporary file."""
        first = await receive()
        if first["type"] == "http.request" and not first.get("more_body"):
            return BytesIO(first.get("body", b""))
        messages = iter((first,))

        async def from_first() -> Message:
            return next(messages, None) or await receive()

        body: IO[bytes] = await super().read_body(from_first)
        return body

    def create_request(
        self, scope: Mapping[str, Any], body_file: IO[bytes]
    ) -> tuple[ASGIRequest, None] | tuple[None, HttpResponseBase]:
        """Set the length of a body that was sent in chunks: without it Django reads no form."""
        if not any(name == b"content-length" for name, _ in scope["headers"]):
            length = body_file.seek(0, os.SEEK_END)
            body_file.seek(0)
            length_header = (b"content-length", str(length).encode())
            scope = {**scope, "headers": [*scope["headers"], length_header]}
        return super().create_request(scope, body_file)


def declared_length(scope: Mapping[str, Any]) -> int:
    """Return the length of a request's body as its headers tell it, or 0."""
    return length_in(next((v for k, v in scope["headers"] if k.lower() == b"content-length"), b""))


def length_in(header: bytes | str) -> int:
    """Return the length that a Content-Length has, 0 if it has none; one that is too long is cut."""
    return int(header[:20]) if header.isascii() and header.isdigit() else 0


async def drain(receive: Receive) -> None:
    """Read and drop a body that nobody reads, up to 1 GiB."""
    left = _DROPPED_BYTES
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return


def in_thread[**P, R](
    function: Callable[P, R], threads: ThreadPoolExecutor | None = None
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return a coroutine function that runs `function` in a thread.

    The thread gives its database connection back to the pool afterwards. asgiref's `sync_to_async`
    costs twice as much: it carries context variables back, which nobody here reads.
    """

    async def call(*args: Any, **kwargs: Any) -> R:
        work = partial(copy_context().run, _release_after, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    return call


def _release_after(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    finally:
        connections.close_all()
