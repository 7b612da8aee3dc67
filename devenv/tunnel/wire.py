"""Minimal HTTP/1 of the gate: everything unusual is refused, never interpreted.

Two programs that read one request differently are how requests are smuggled (RFC 9112, 11.2). So
there is one request on a connection, one way to say how long it is, and no path is ever normalised.
"""

import json
import re
from dataclasses import dataclass
from http import HTTPStatus

MAX_HEAD = 16 * 1024
MAX_BODY = 64 * 1024
_MAX_HEADERS = 64
_MAX_TARGET = 512

# Web servers may speak HTTP/1.0 to what is behind them; nginx did so by default for many years.
_LINE = re.compile(rb"([A-Z]{1,10}) (\S{1,8000}) HTTP/1\.[01]")
# Only what a path of ours is made of: no percent, dot, backslash, query, scheme or host.
_TARGET = re.compile(r"/[A-Za-z0-9/_-]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_LENGTH = re.compile(r"[0-9]{1,8}")


class Refused(Exception):
    """The request is refused; the reason is for the log and for the caller."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The first lines of a request; names are lower-cased, as often as they came."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.fields if known == name]

    @property
    def length(self) -> int:
        """The number of bytes that follow. Raises Refused."""
        said = self.all("content-length")
        if self.all("transfer-encoding") or not said:
            raise Refused(
                411, "A request needs exactly one Content-Length and no Transfer-Encoding."
            )
        if len(said) > 1 or not _LENGTH.fullmatch(said[0]):
            raise Refused(400, "The Content-Length is not a number, or there are several.")
        if (length := int(said[0])) > MAX_BODY:
            raise Refused(413, f"At most {MAX_BODY} bytes are taken.")
        return length


def parse(head: bytes) -> RequestHead:
    """Read everything before the body, without the empty line. Raises Refused."""
    first, *lines = head.split(b"\r\n")
    found = _LINE.fullmatch(first)
    if not found:
        raise Refused(400, "The request does not begin as one of HTTP/1 does.")
    if len(lines) > _MAX_HEADERS:
        raise Refused(431, f"At most {_MAX_HEADERS} headers are read.")
    fields = tuple(_field(line) for line in lines)
    target = found[2].decode("latin-1")
    if len(target) > _MAX_TARGET or not _TARGET.fullmatch(target):
        raise Refused(404, "Not found.")
    return RequestHead(found[1].decode(), target, fields)


def _field(line: bytes) -> tuple[str, str]:
    # A line that begins with a space continues the one before, for some and not for others.
    found = _FIELD.fullmatch(line)
    if not found:
        raise Refused(400, "A header is not of the form `name: value`.")
    return found[1].decode().lower(), found[2].decode("latin-1").strip(" \t")


def answer(status: int, body: bytes, content_type: str = "application/json") -> bytes:
    """Return a whole answer, after which the connection is closed."""
    lines = (
        f"HTTP/1.1 {status} {_phrase(status)}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def refusal(refused: Refused) -> bytes:
    return answer(refused.status, json.dumps({"detail": refused.reason}).encode())


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
