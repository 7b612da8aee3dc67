"""Request bodies: decompressed, bounded and parsed.

Google's frontends decompress JSON requests that are sent with `Content-Encoding: gzip`, which is
the default of Java's clients.
"""

import json
import zlib
from typing import Any

from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from devenv.gcp.errors import InvalidArgument


def gunzipped(scope: Scope, receive: Receive) -> Receive:
    """Return a `receive` that decompresses the body if its Content-Encoding says gzip.

    It raises InvalidArgument for another coding, and for a body that is not what it says.
    """
    codings = [value for name, value in scope["headers"] if name == b"content-encoding"]
    coding = b",".join(codings).strip().lower()
    if coding in (b"", b"identity"):
        return receive
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)

    async def decompressed() -> Message:
        if coding != b"gzip":
            name = coding.decode("latin-1")[:40]
            raise InvalidArgument(f"Content-Encoding '{name}' is not supported; use gzip or none.")
        message = await receive()
        if message["type"] != "http.request":
            return message
        try:
            body = unpack.decompress(message.get("body", b""))
        except zlib.error as error:
            raise InvalidArgument("The request body is not valid gzip.") from error
        if not message.get("more_body") and not unpack.eof:
            raise InvalidArgument("The gzip request body ends too early.")
        return {**message, "body": body}

    return decompressed


async def read(request: Request, *, limit: int) -> bytes:
    """Return the body. Raises InvalidArgument as soon as it is longer than `limit` bytes."""
    request = Request(request.scope, gunzipped(request.scope, request.receive))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise InvalidArgument(f"Request payload size exceeds the limit: {limit} bytes.")
    return bytes(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`, an empty one if there is nothing. Raises InvalidArgument."""
    try:
        value = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("Invalid JSON payload received.") from error
    if not isinstance(value, dict):
        raise InvalidArgument("Invalid JSON payload received. Root element must be a message.")
    return value
