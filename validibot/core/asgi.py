"""Django under ASGI: threads for requests, the event loop for everything that waits.

Django's own handler runs middleware in the event loop, visits a thread for each of its halves and
makes that thread, with its database wrapper, anew for every request; that costs more than our views
do. Here one thread runs middleware and view. A view must not keep its thread while it waits: it
returns a `DeferredResponse`, which waits in the event loop.
Health probes have threads of their own and never queue behind requests.
"""

import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

# As many requests as Cloud Run sends to one instance, unless told otherwise.
_REQUEST_THREADS = 80
_PROBE_THREADS = 2


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


class ThreadedHandler(ASGIHandler):
    """Runs middleware and view in a thread; the event loop sends, and streams, the response."""

    def __init__(self, threads: int = _REQUEST_THREADS) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self._requests = ThreadPoolExecutor(threads, thread_name_prefix="request")
        self._probes = ThreadPoolExecutor(_PROBE_THREADS, thread_name_prefix="probe")

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

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response, waiting without a thread if the view asks for it."""
        threads = self._probes if request.path.startswith("/health/") else self._requests
        response: HttpResponseBase = await in_thread(self.get_response, threads)(request)
        return await response.final() if isinstance(response, DeferredResponse) else response


def in_thread[**P, R](
    function: Callable[P, R], threads: ThreadPoolExecutor | None = None
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return a coroutine function that runs `function` in a thread.

    The thread gives its database connection back to the pool afterwards.
    """

    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        finally:
            connections.close_all()

    return sync_to_async(run, thread_sensitive=False, executor=threads)
