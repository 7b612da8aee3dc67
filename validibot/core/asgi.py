"""Django under ASGI with one change of thread per request instead of two per middleware."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.base import BaseHandler
from django.db import connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase

# As many requests as Cloud Run sends to one instance, unless told otherwise.
_THREADS = 80


class ThreadedHandler(ASGIHandler):
    """Runs middleware and view in a thread; the answer is sent, and streamed, by the event loop.

    Django's own handler runs middleware in the event loop, visits a thread for each of its halves,
    and makes that thread, with its database wrapper, anew for every request: all of that costs
    more than our views do. A view that streams asynchronously still can.
    """

    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="request")
        self._in_thread = sync_to_async(self._respond, thread_sensitive=False, executor=threads)

    def create_request(
        self, scope: Mapping[str, Any], body_file: IO[bytes]
    ) -> tuple[ASGIRequest, None] | tuple[None, HttpResponseBase]:
        """Tell the length of a body that was sent in chunks: Django takes a form for empty else."""
        if not any(name == b"content-length" for name, _ in scope["headers"]):
            length = body_file.seek(0, os.SEEK_END)
            body_file.seek(0)
            length_header = (b"content-length", str(length).encode())
            scope = {**scope, "headers": [*scope["headers"], length_header]}
        return super().create_request(scope, body_file)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        return await self._in_thread(request)

    def _respond(self, request: HttpRequest) -> HttpResponseBase:
        try:
            response: HttpResponseBase = self.get_response(request)
            return response
        finally:
            connections.close_all()  # which gives them back to the pool
