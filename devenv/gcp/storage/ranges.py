"""Byte ranges: `Range` of a download and `Content-Range` of a resumable upload."""

import re
from dataclasses import dataclass

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.errors import RangeNotSatisfiable

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,19})-(\d{1,19})|\*)/(\d{1,19}|\*)")


@dataclass(frozen=True, slots=True)
class Chunk:
    """What an upload request brings: bytes from `start` to before `end` of `total`.

    Without `start` it brings nothing and asks how far the upload is.
    """

    start: int | None
    end: int | None
    total: int | None


def slice_of(header: str | None, size: int) -> tuple[int, int] | None:
    """Return (first byte, one past the last) that a Range header asks for, None for everything.

    A header that is malformed or asks for several ranges is ignored, as Google does.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if not match or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        if match[2] and int(match[2]) < start:
            return None
    if start >= size:
        raise RangeNotSatisfiable(size)
    return start, end


def parse_content_range(header: str | None) -> Chunk:
    """Read the Content-Range of an upload; without one the body is all that is missing."""
    if header is None:
        return Chunk(0, None, None)
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if not match:
        raise InvalidArgument("Failed to parse Content-Range header.")
    total = None if match[3] == "*" else int(match[3])
    if match[1] is None:
        return Chunk(None, None, total)
    start, end = int(match[1]), int(match[2]) + 1
    if end <= start or (total is not None and end > total):
        raise InvalidArgument("Failed to parse Content-Range header.")
    return Chunk(start, end, total)
