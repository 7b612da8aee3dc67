"""Request bodies, read no further than they may be long."""

import json
from typing import Any

from starlette.requests import Request

from devenv.gcp.errors import InvalidArgument


async def read(request: Request, *, limit: int) -> bytes:
    """Return the body. Raises InvalidArgument as soon as it is longer than `limit` bytes."""
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
