"""Limits on requests and responses that hold for every view.

`BodyLimit` is the outermost ASGI application of the public service. It answers before it reads a refused body
to its end: clients that listen stop sending, and the others receive the answer instead of a reset connection.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from validibot.core import problems
from validibot.core.asgi import declared_length, drain
from validibot.core.echo import echo

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type Application = Callable[[Any, Any, Any], Awaitable[None]]

type View = Callable[[HttpRequest], HttpResponseBase]


class BodyLimit:
    """ASGI wrapper: answers 413 to bodies over `max_bytes`, declared or streamed."""

    def __init__(self, app: Application, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif declared_length(scope) > self.max_bytes:
            await self._refuse(receive, send)
        else:
            await self._count(scope, receive, send)

    async def _count(self, scope: Message, receive: Receive, send: Send) -> None:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.max_bytes:
                raise _TooLarge
            return message

        try:
            await self.app(scope, counted, send)
        except _TooLarge:
            await self._refuse(receive, send)

    async def _refuse(self, receive: Receive, send: Send) -> None:
        answer = problems.response(
            413,
            f"The request is larger than {self.max_bytes:,} bytes. Send a smaller file.",
            "PAYLOAD_TOO_LARGE",
        )
        headers = [(k.lower().encode(), v.encode()) for k, v in answer.items()]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": answer.content})
        await drain(receive)


class _TooLarge(Exception):
    """The streamed body went over the limit."""


# Only the raw body of a launch may be in base64; nothing here decompresses.
_KNOWN_ENCODINGS = ("", "identity", "base64")


class ContentEncodingMiddleware:
    """Answers 415 to a compressed body: it would be read as if it were the content itself."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        if encoding in _KNOWN_ENCODINGS:
            return self.get_response(request)
        answer = problems.response(
            415,
            f"Content-Encoding {echo(encoding)} is not supported. Send the body uncompressed.",
            "UNSUPPORTED_CONTENT_ENCODING",
        )
        answer.headers["Accept-Encoding"] = "identity"
        return answer


class NoStoreMiddleware:
    """Keeps pages and answers of signed-in users out of the caches of browsers and proxies."""

    def __init__(self, get_response: View) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        name = settings.SESSION_COOKIE_NAME
        signed_in = (
            name in request.COOKIES
            or name in response.cookies
            or "Authorization" in request.headers
        )
        if signed_in:
            response.headers.setdefault("Cache-Control", "no-store")
        return response
