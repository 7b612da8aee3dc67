"""Django under ASGI with one change of thread per request instead of two per middleware."""

from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
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

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        return await self._in_thread(request)

    def _respond(self, request: HttpRequest) -> HttpResponseBase:
        try:
            response: HttpResponseBase = self.get_response(request)
            return response
        finally:
            connections.close_all()  # which gives them back to the pool
