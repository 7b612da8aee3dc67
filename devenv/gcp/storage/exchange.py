"""One request: its parts decoded and bounded, who makes it, and the answers it may get."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.access import Access
from devenv.gcp.storage.errors import TooLarge
from devenv.gcp.storage.related import json_object
from devenv.gcp.storage.resources import Shapes

_LONGEST_PATH = 16 * 1024
_LONGEST_QUERY = 32 * 1024
_LARGEST_BODY = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a handler works with."""

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

    async def body(self, most: int = _LARGEST_BODY) -> bytes:
        """Return the whole body. Raises TooLarge."""
        parts, size = [], 0
        async for part in self.request.stream():
            size += len(part)
            if size > most:
                raise TooLarge("Request entity too large.")
            parts.append(part)
        return b"".join(parts)


def answer(resource: Mapping[str, Any], *, status: int = 200) -> Response:
    """Return a JSON response."""
    headers = {"etag": resource["etag"]} if "etag" in resource else None
    return Response(
        json.dumps(resource),
        status_code=status,
        headers=headers,
        media_type="application/json; charset=UTF-8",
    )


def raw_path(request: Request) -> str:
    """Return the path as it was sent, where `%2F` in an object's name is not a separator."""
    raw = request.scope.get("raw_path")
    path = raw.decode("latin-1") if raw else quote(request.scope["path"])
    if len(path) > _LONGEST_PATH:
        raise InvalidArgument("The URL is too long.")
    return path.partition("?")[0]


def pairs_of(request: Request) -> tuple[tuple[str, str], ...]:
    """Return the query's parameters in the order in which they came."""
    text = request.scope.get("query_string", b"").decode("latin-1")
    if len(text) > _LONGEST_QUERY:
        raise InvalidArgument("The URL is too long.")
    try:
        return tuple(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100))
    except ValueError as error:
        raise InvalidArgument("The query is not valid UTF-8 or has too many fields.") from error


def decode(segment: str) -> str:
    """Undo the percent-encoding of one part of a path."""
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidArgument("The URL is not valid UTF-8.") from error


def base_of(request: Request) -> str:
    """Return the scheme and host by which the client reached us, for links that lead back."""
    return f"{request.scope.get('scheme', 'http')}://{Headers(scope=request.scope).get('host', '')}"
