"""The Model Context Protocol endpoint: streamable HTTP, an API key, nothing kept between messages.

https://modelcontextprotocol.io/specification: a client posts each message and gets the answer as JSON.
The server opens no streams and has no sessions, so any instance answers any message; `GET` and `DELETE`
are refused with 405, as the specification allows.

The answer is made in the event loop that serves the web process, or, under WSGI, in one of its own.
"""

import asyncio
from functools import partial

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request

from validibot.api.access import user_of
from validibot.api.auth import ApiKeyAuthentication
from validibot.api.base import ApiView
from validibot.api.bodies import read_bounded
from validibot.core.asgi import DeferredResponse
from validibot.core.problems import ApiError

# A file of tools.MAX_FILE_BYTES in base64, and the rest of the message.
MAX_MESSAGE_BYTES = 6 * 1024 * 1024


class McpView(ApiView):
    """One message of the protocol. Browsers' sessions open nothing here, only API keys do."""

    authentication_classes = [ApiKeyAuthentication]
    schema = None  # no part of the OpenAPI document

    def post(self, request: Request) -> HttpResponse:
        django_request = request._request  # noqa: SLF001 - REST framework's parsers would read it first
        _check_origin(django_request)
        content = read_bounded(django_request, MAX_MESSAGE_BYTES)
        if content is None:
            raise ApiError(
                413,
                "PAYLOAD_TOO_LARGE",
                f"A message may have {MAX_MESSAGE_BYTES:,} bytes. Send larger files by the API.",
            )
        # The package takes half a second and 25 MB, which only those who use the endpoint pay.
        from validibot.mcp.exchange import exchange  # noqa: PLC0415

        answer = partial(exchange, django_request, content, user_of(request).pk)
        if isinstance(django_request, ASGIRequest):
            return DeferredResponse(answer, status=200)
        return asyncio.run(answer())


def _check_origin(request: HttpRequest) -> None:
    """Refuse pages of other sites, as the specification demands of servers. Raises ApiError."""
    origin = request.headers.get("Origin")
    if origin and origin.rpartition("//")[2] != request.get_host():
        detail = f"Pages of {origin[:100]} cannot use this endpoint. Call it from a program."
        raise ApiError(403, "ORIGIN_REFUSED", detail)
