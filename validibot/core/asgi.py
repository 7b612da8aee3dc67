"""Django under ASGI with one change of thread per request instead of two per middleware."""

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class ThreadedHandler(ASGIHandler):
    """Runs middleware and view in a thread; the answer is sent, and streamed, by the event loop.

    Django's own handler runs middleware in the event loop and visits a thread for each of its
    halves, which costs more than our views do. A view that streams asynchronously still can.
    """

    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await sync_to_async(self.get_response)(request)
        return response
