"""Batch requests: up to a thousand calls in one multipart/mixed body.

After https://cloud.google.com/storage/docs/batch.
"""

import email
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message as Event

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.errors import as_json
from devenv.gcp.storage.exchange import Exchange
from devenv.gcp.storage.related import boundary_of

type Respond = Callable[[Request], Awaitable[Response]]

_LARGEST = 10 * 1024 * 1024
_MOST = 1000
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(r"([A-Z]{3,10}) (\S{1,16384})(?: HTTP/1\.[01])?")


@dataclass(frozen=True, slots=True)
class Part:
    """One call inside a batch."""

    content_id: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


async def handle(exchange: Exchange, respond: Respond) -> Response:
    """Answer each call in its turn, as if it had come alone with the batch's own token."""
    content_type = exchange.headers.get("content-type", "")
    boundary_of(content_type)
    parts = parse(content_type, await exchange.body(_LARGEST))
    answers = [(part, await _answer(exchange.request, part, respond)) for part in parts]
    mark = f"batch_{secrets.token_hex(12)}"
    return Response(_join(mark, answers), media_type=f"multipart/mixed; boundary={mark}")


def parse(content_type: str, body: bytes) -> list[Part]:
    """Take a batch apart. Raises InvalidArgument."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode("utf-8", "replace")
    messages = email.message_from_bytes(head + body).get_payload()
    if not isinstance(messages, list):
        raise InvalidArgument("The batch has no parts.")
    if len(messages) > _MOST:
        raise InvalidArgument(f"The batch has more than {_MOST} parts.")
    return [_part(message) for message in messages if isinstance(message, Message)]


def _part(message: Message) -> Part:
    payload = message.get_payload(decode=True)
    data = payload.lstrip() if isinstance(payload, bytes) else b""
    head, *rest = _BLANK_LINE.split(data, maxsplit=1)
    first, *lines = head.decode("latin-1").splitlines() or [""]
    match = _REQUEST_LINE.fullmatch(first.strip())
    if not match:
        raise InvalidArgument("A part of the batch has no request line.")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    content_id = str(message.get("Content-ID", "")).strip("<> \r\n")[:200]
    return Part(content_id, match[1], match[2], headers, rest[0] if rest else b"")


async def _answer(outer: Request, part: Part, respond: Respond) -> Response:
    try:
        url = urlsplit(part.target)
    except ValueError:
        return as_json(InvalidArgument("A part of the batch has no valid URL."))
    if not url.path.startswith("/storage/v1/") or "alt=media" in url.query:
        return as_json(InvalidArgument("A batch takes neither uploads nor downloads."))
    headers = {
        name: value for name, value in outer.headers.items() if name in ("host", "authorization")
    } | {name: value for name, value in part.headers.items() if name != "host"}
    scope = {
        **outer.scope,
        "method": part.method,
        "path": url.path,
        "raw_path": url.path.encode("utf-8", "replace"),
        "query_string": url.query.encode("utf-8", "replace"),
        "headers": Headers(headers).raw,
    }

    async def receive() -> Event:
        return {"type": "http.request", "body": part.body}

    return await respond(Request(scope, receive))


def _join(mark: str, answers: Iterable[tuple[Part, Response]]) -> bytes:
    chunks = []
    for part, response in answers:
        status = HTTPStatus(response.status_code)
        head = [f"--{mark}", "Content-Type: application/http"]
        if part.content_id:
            head.append(f"Content-ID: <response-{part.content_id}>")
        head += ["", f"HTTP/1.1 {status.value} {status.phrase}"]
        head += [f"{name}: {value}" for name, value in response.headers.items()]
        chunks.append("\r\n".join([*head, "", ""]).encode("utf-8", "replace"))
        chunks.append(bytes(response.body) + b"\r\n")
    return b"".join([*chunks, f"--{mark}--\r\n".encode()])
