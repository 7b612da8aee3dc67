"""Multipart bodies: uploads with metadata and media in one request, forms, and batches of calls.

An upload with `uploadType=multipart` is multipart/related: a JSON part, which is kept, then the
bytes of the object, which are streamed to disk as they arrive. A form is multipart/form-data: its
fields, then the file, which is streamed, too. A batch is multipart/mixed: up to a
hundred calls (the emulator takes a thousand), each an HTTP request of its own, answered in order as
if it had arrived alone with the batch's token.

See https://cloud.google.com/storage/docs/json_api/v1/how-tos/upload and
https://cloud.google.com/storage/docs/batch.
"""

import email
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message as Event

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.errors import TooLarge, UploadProblem, as_json
from devenv.gcp.storage.exchange import Exchange, json_object

Respond: TypeAlias = Callable[[Request], Awaitable[Response]]

_BOUNDARY = re.compile(
    r'multipart/[^;]+;.*?boundary=(?:"([^"]{1,200})"|([^\s;"\']{1,200})|\'([^\']{1,200})\')',
    re.IGNORECASE,
)
_MAX_HEAD = 1024 * 1024
_MAX_FIELDS = 100
_MAX_BATCH = 10 * 1024 * 1024
_MAX_CALLS = 1000
_CONTENT_TYPE = re.compile(rb"^[ \t]*content-type[ \t]*:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_REQUEST_LINE = re.compile(r"([A-Z]{3,10}) (\S{1,16384})(?: HTTP/1\.[01])?")


def boundary_of(content_type: str) -> bytes:
    """Return the boundary of a multipart content type. Raises InvalidArgument."""
    match = _BOUNDARY.match(content_type)
    if not match:
        raise InvalidArgument("The Content-Type must be multipart with a boundary.")
    return (match[1] or match[2] or match[3]).encode("utf-8", "replace")


class StreamedBody:
    """A multipart body whose last part of interest is too large to be kept.

    Lines may end in LF alone, as gcloud writes them.
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        self._boundary = b"--" + boundary_of(content_type)
        self._delimiter = b"\r\n" + self._boundary
        self._body = body
        self._buffer = b""
        self.content_type = ""

    async def media(self) -> AsyncIterator[bytes]:
        """Yield the bytes of the streamed part. Raises InvalidArgument if the body ends in it."""
        keep = len(self._delimiter) - 1
        while (cut := self._buffer.find(self._delimiter)) < 0:
            ready = max(0, len(self._buffer) - keep)
            if ready:
                yield self._buffer[:ready]
            self._buffer = self._buffer[ready:] + await self._more()
        yield self._buffer[:cut]
        await self._drain()

    async def whole_media(self) -> bytes | None:
        """Return the bytes of the streamed part if its end is here already, else None."""
        cut = self._buffer.find(self._delimiter)
        if cut < 0:
            return None
        await self._drain()
        return self._buffer[:cut]

    async def _drain(self) -> None:
        """Ignore the bytes after the last boundary."""
        async for _ in self._body:
            pass

    async def _begin(self) -> bytes:
        """Go on behind the first boundary, and return the end of its line, which all lines have."""
        line = await self._up_to(b"\n")
        if self._boundary not in line:  # a preamble, which is ignored
            await self._up_to(self._boundary)
            line = await self._up_to(b"\n")
        line_end = b"\r\n" if line.endswith(b"\r") else b"\n"
        self._buffer = line_end + self._buffer  # a part without headers begins with an empty line
        self._delimiter = line_end + self._boundary
        return line_end

    async def _up_to(self, mark: bytes) -> bytes:
        """Return what comes before `mark` and go on behind it."""
        while True:
            found, is_there, rest = self._buffer.partition(mark)
            if is_there:
                self._buffer = rest
                return found
            if len(self._buffer) > _MAX_HEAD:
                raise TooLarge("The metadata of the upload is too large.")
            self._buffer += await self._more()

    async def _more(self) -> bytes:
        async for data in self._body:
            if data:
                return data
        raise InvalidArgument("The multipart body ends too early.")


class RelatedBody(StreamedBody):
    """The body of an upload with `uploadType=multipart`."""

    async def metadata(self) -> dict[str, Any]:
        """Return the JSON part and read the head of the media part."""
        line_end = await self._begin()
        _, _, text = (await self._up_to(self._delimiter)).partition(line_end * 2)
        resource = json_object(text)
        head = await self._up_to(line_end * 2)
        self.content_type = _content_type(head)
        return resource


class FormBody(StreamedBody):
    """The body of a form, whose file comes last; `filename` is the name that the file had."""

    filename = ""

    async def fields(self) -> dict[str, str]:
        """Return the fields before the file, by lower-case names. Raises UploadProblem."""
        line_end = await self._begin()
        fields: dict[str, str] = {}
        size = 0
        while True:
            if await self._up_to(line_end):  # the two hyphens behind the last boundary
                raise UploadProblem(
                    "IncorrectNumberOfFilesInPostRequest",
                    "POST requires exactly one file upload per request.",
                )
            text = (await self._up_to(line_end * 2)).decode("utf-8", "replace")
            head = email.message_from_string(text)
            name = str(head.get_param("name", "", "content-disposition")).lower()
            if name == "file":
                self.content_type = str(head.get("content-type", ""))
                self.filename = head.get_filename("")
                return fields
            value = await self._up_to(self._delimiter)
            size += len(name) + len(value)
            if not name or len(fields) >= _MAX_FIELDS or size > _MAX_HEAD:
                raise UploadProblem(
                    "MalformedPOSTRequest",
                    f"Each field of a form needs a name, and there are at most {_MAX_FIELDS} of "
                    f"{_MAX_HEAD} bytes together.",
                )
            fields[name] = value.decode("utf-8", "replace")


def _content_type(head: bytes) -> str:
    match = _CONTENT_TYPE.search(head)
    return match[1].decode("utf-8", "replace").strip() if match else ""


@dataclass(frozen=True, slots=True)
class BatchCall:
    """One call of a batch."""

    content_id: str
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


async def answer_batch(exchange: Exchange, respond: Respond) -> Response:
    """Answer the calls of a batch in order."""
    content_type = exchange.headers.get("content-type", "")
    boundary_of(content_type)
    parts = parse_batch(content_type, await exchange.body(_MAX_BATCH))
    answers = [(part, await _answer(exchange.request, part, respond)) for part in parts]
    mark = f"batch_{secrets.token_hex(12)}"
    return Response(_join(mark, answers), media_type=f"multipart/mixed; boundary={mark}")


def parse_batch(content_type: str, body: bytes) -> list[BatchCall]:
    """Return the calls of a batch. Raises InvalidArgument."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode("utf-8", "replace")
    messages = email.message_from_bytes(head + body).get_payload()
    if not isinstance(messages, list):
        raise InvalidArgument("The batch has no parts.")
    if len(messages) > _MAX_CALLS:
        raise InvalidArgument(f"The batch has more than {_MAX_CALLS} parts.")
    return [_part(message) for message in messages if isinstance(message, Message)]


def _part(message: Message) -> BatchCall:
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
    return BatchCall(content_id, match[1], match[2], headers, rest[0] if rest else b"")


async def _answer(outer: Request, part: BatchCall, respond: Respond) -> Response:
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


def _join(mark: str, answers: Iterable[tuple[BatchCall, Response]]) -> bytes:
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
