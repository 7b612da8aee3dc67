"""multipart/related as a stream: a JSON part that is kept, then a media part that flows through."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.errors import TooLarge

_BOUNDARY = re.compile(
    r'multipart/[^;]+;.*?boundary=(?:"([^"]{1,200})"|([^\s;"\']{1,200})|\'([^\']{1,200})\')',
    re.IGNORECASE,
)
_MOST_HEAD = 1024 * 1024


def boundary_of(content_type: str) -> bytes:
    """Return the boundary of a multipart content type. Raises InvalidArgument."""
    match = _BOUNDARY.match(content_type)
    if not match:
        raise InvalidArgument("The Content-Type must be multipart with a boundary.")
    return (match[1] or match[2] or match[3]).encode("utf-8", "replace")


def json_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object; nothing at all is an empty one. Raises InvalidArgument."""
    if not data.strip():
        return {}
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("Parse Error") from error
    if not isinstance(value, dict):
        raise InvalidArgument("Parse Error")
    return value


class Related:
    """Reads the body of an upload with `uploadType=multipart`.

    Lines may end in LF alone, which is how Google's own gcloud writes them.
    """

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        self._boundary = b"--" + boundary_of(content_type)
        self._delimiter = b"\r\n" + self._boundary
        self._body = body
        self._buffer = b""
        self.content_type = ""

    async def metadata(self) -> dict[str, Any]:
        """Return the JSON part and read the head of the media part."""
        await self._up_to(self._boundary)
        line_end = b"\r\n" if (await self._up_to(b"\n")).endswith(b"\r") else b"\n"
        self._buffer = line_end + self._buffer  # a part without headers begins with an empty line
        self._delimiter = line_end + self._boundary
        await self._up_to(line_end * 2)
        resource = json_object(await self._up_to(self._delimiter))
        head = await self._up_to(line_end * 2)
        self.content_type = _content_type(head)
        return resource

    async def media(self) -> AsyncIterator[bytes]:
        """Yield the media part. Raises InvalidArgument if the body ends before it."""
        keep = len(self._delimiter) - 1
        while (cut := self._buffer.find(self._delimiter)) < 0:
            ready = max(0, len(self._buffer) - keep)
            if ready:
                yield self._buffer[:ready]
            self._buffer = self._buffer[ready:] + await self._more()
        yield self._buffer[:cut]
        async for _ in self._body:  # what follows the last boundary means nothing
            pass

    async def _up_to(self, mark: bytes) -> bytes:
        """Return what comes before `mark` and go on behind it."""
        while (cut := self._buffer.find(mark)) < 0:
            if len(self._buffer) > _MOST_HEAD:
                raise TooLarge("The metadata of the upload is too large.")
            self._buffer += await self._more()
        found, self._buffer = self._buffer[:cut], self._buffer[cut + len(mark) :]
        return found

    async def _more(self) -> bytes:
        async for data in self._body:
            if data:
                return data
        raise InvalidArgument("The multipart body ends too early.")


def _content_type(head: bytes) -> str:
    for line in head.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-type":
            return value.strip()
    return ""
