"""A request to Cloud Storage: its decoded and bounded parts, its caller, and JSON answers.

Paths are kept as they were sent, because `%2F` in an object's name is not a separator. Sizes are
bounded before anything is parsed. Google's frontends decompress the body of a JSON request that is
sent with `Content-Encoding: gzip`, as Java's client does; so does the app before it builds the
exchange.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any, Self, TypeAlias
from urllib.parse import parse_qsl, quote, unquote_to_bytes

import orjson
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.errors import TooLarge
from devenv.gcp.storage.model import dump_json
from devenv.gcp.storage.resources import HeaderPair, Shapes

JSON_TYPE = "application/json; charset=UTF-8"
_JSON_PAIR = (b"content-type", JSON_TYPE.encode())
_MAX_PATH = 16 * 1024
_MAX_QUERY = 32 * 1024
_MAX_BODY = 1024 * 1024
_MAX_FIELDS = 100
_SHORT_QUERY = 256
_LATIN = repeat("latin-1")


class RequestBody:
    """The bytes of a request as they arrive. Short ones take less of it than of a generator."""

    __slots__ = ("_is_whole", "_receive")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._is_whole = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes. Raises ClientDisconnect if the client has gone."""
        while not self._is_whole:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self._is_whole = not message.get("more_body", False)
            data: bytes = message.get("body", b"")
            if data:
                return data
        raise StopAsyncIteration


@dataclass(slots=True)  # not frozen, because one is made for each call
class Exchange:
    """A request as its handler sees it."""

    request: Request
    path: str
    pairs: tuple[tuple[str, str], ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    access: Access
    shapes: Shapes

    async def json(self) -> dict[str, Any]:
        """Return the body as a JSON object."""
        return json_object(await self.body())

    def stream(self) -> RequestBody:
        """Return the body, to be read once."""
        return RequestBody(self.request.receive)

    async def body(self, limit: int = _MAX_BODY) -> bytes:
        """Return the whole body. Raises TooLarge."""
        parts, size = [], 0
        async for part in self.stream():
            size += len(part)
            if size > limit:
                raise TooLarge("Request entity too large.")
            parts.append(part)
        return b"".join(parts)


class ReadyResponse(Response):
    """An answer that is all here, with its headers as they are sent.

    Headers that come again are a tuple, for which the server remembers their lines.
    """

    def __init__(
        self,
        body: bytes,
        headers: tuple[HeaderPair, ...] | list[HeaderPair],
        status: int = 200,
    ) -> None:
        self.status_code, self.background = status, None
        self.body = body
        self._pairs = headers

    @property
    def headers(self) -> MutableHeaders:
        self._pairs = list(self._pairs)
        return MutableHeaders(raw=self._pairs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self._pairs}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})


def answer(resource: Mapping[str, Any], *, status: int = 200) -> Response:
    """Return a JSON response."""
    body = dump_json(resource)
    headers = [_JSON_PAIR, length_pair(len(body))]
    if etag := resource.get("etag"):
        headers.append((b"etag", etag.encode()))
    return ReadyResponse(body, headers, status)


def answer_page(page: Mapping[str, Any], items: Sequence[bytes]) -> Response:
    """Return a JSON response of a list, whose items are JSON already."""
    text = dump_json(page)
    if items:
        text = b'%b,"items":[%b]}' % (text[:-1], b",".join(items))
    return ReadyResponse(text, [_JSON_PAIR, length_pair(len(text))])


def length_pair(size: int) -> HeaderPair:
    return b"content-length", b"%d" % size


def raw_path(request: Request) -> str:
    """Return the path as it was sent, where `%2F` in an object's name is not a separator."""
    raw = request.scope.get("raw_path")
    path = raw.decode("latin-1") if raw else quote(request.scope["path"])
    if len(path) > _MAX_PATH:
        raise InvalidArgument("The URL is too long.")
    return path.partition("?")[0]


Pairs: TypeAlias = tuple[tuple[str, str], ...]


def pairs_of(request: Request) -> Pairs:
    """Return the query's parameters in the order in which they came."""
    query: bytes = request.scope.get("query_string", b"")
    if len(query) > _MAX_QUERY:
        raise InvalidArgument("The URL is too long.")
    return _short_pairs(query) if len(query) < _SHORT_QUERY else _pairs(query)


def _pairs(query: bytes) -> Pairs:
    text = query.decode("latin-1")
    if not text:
        return ()
    if text.isascii() and not {"%", "+"} & set(text) and text.count("&") < _MAX_FIELDS:
        return tuple(_pair(part) for part in text.split("&") if part)
    try:
        return tuple(
            parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
        )
    except ValueError as error:
        raise InvalidArgument("The query is not valid UTF-8 or has too many fields.") from error


_short_pairs = lru_cache(maxsize=512)(_pairs)  # clients send the same few again and again


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


@lru_cache(maxsize=1024)
def decode(segment: str) -> str:
    """Undo the percent-encoding of one part of a path."""
    try:
        return unquote_to_bytes(segment).decode() if "%" in segment else segment
    except UnicodeDecodeError as error:
        raise InvalidArgument("The URL is not valid UTF-8.") from error


def headers_of(request: Request) -> dict[str, str]:
    """Return the headers by their names in lower case; of several with one name the last."""
    sent: dict[bytes, bytes] = dict(request.scope["headers"])
    return dict(zip(map(str, sent, _LATIN), map(str, sent.values(), _LATIN), strict=True))


def json_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object; nothing at all is an empty one. Raises InvalidArgument."""
    if not data.strip():
        return {}
    try:
        value = orjson.loads(data)
    except ValueError as error:
        raise InvalidArgument("Parse Error") from error
    if not isinstance(value, dict):
        raise InvalidArgument("Parse Error")
    return value
