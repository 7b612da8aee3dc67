"""Bounded parsing of JSON documents, and positions of values in their text.

Size and depth are limited, and a document that cannot be read is a problem in the user's terms.
Positions are computed only when there is a problem to report.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import isinf
from typing import Any, NoReturn

from validibot.engines.problems import BadDocument, DocumentProblem

type JSON = dict[str, JSON] | list[JSON] | str | int | float | bool | None

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 128
# Python converts no longer integers.
MAX_DIGITS = 4300

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_DEPTH_CHANGE = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
# Every digit becomes 0 and E becomes e, which makes the search for huge numbers fast.
_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
# With an exponent of two digits, fewer than 200 digits stay below the largest double, 1.8e308.
_HUGE_NUMBERS = (b"0" * 200, b"e000", b"e+000")
_BLANKS = " \t\r\n"
_read_value = json.JSONDecoder().raw_decode
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def decode_text(content: bytes) -> str:
    """Return the text of a UTF-8 document, without a byte order mark. Raises BadDocument."""
    if len(content) > MAX_BYTES:
        size = f"{len(content)} bytes; at most {MAX_BYTES} can be checked."
        raise BadDocument(DocumentProblem(f"The document has {size}", code="document.too_large"))
    try:
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise BadDocument(_not_utf8(content, error.start)) from None
    if not text.strip():
        raise BadDocument(DocumentProblem("The document is empty.", code="document.empty"))
    return text


def parse_json(content: bytes) -> JSON:
    """Return the value of a JSON document. Raises BadDocument."""
    text = decode_text(content)
    if content.count(b"[") + content.count(b"{") > MAX_DEPTH and depth_of(content) > MAX_DEPTH:
        message = f"The document is nested deeper than {MAX_DEPTH} levels."
        raise BadDocument(DocumentProblem(message, code="json.too_deep"))
    hooks: dict[str, Any] = {}
    digits = content.translate(_DIGITS)
    if any(number in digits for number in _HUGE_NUMBERS):
        hooks = {"parse_float": _finite, "parse_int": _bounded}
    try:
        value: JSON = json.loads(
            text, parse_constant=_refuse_constant, object_pairs_hook=_unique, **hooks
        )
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise BadDocument(_at(text, error.pos, f"This is not JSON: {error.msg}.")) from None
    except UnicodeEncodeError:
        message = "A string holds half of a surrogate pair, which is not a character."
        raise BadDocument(DocumentProblem(message, code="json.invalid")) from None
    except _Refused as refused:
        raise BadDocument(refused.problem(text)) from None
    return value


class _Refused(ValueError):
    """A value that cannot be accepted; its position is found by its text `token`."""

    def __init__(
        self, message: str, *, token: str, code: str = "json.invalid", occurrences: int = 1
    ) -> None:
        super().__init__(message)
        self.token = token
        self.code = code
        self.occurrences = occurrences

    def problem(self, text: str) -> DocumentProblem:
        """Return the problem, with its position where only one is possible."""
        if text.count(self.token) != self.occurrences:
            return DocumentProblem(str(self), code=self.code)
        line, column = line_and_column(text, text.rfind(self.token))
        return DocumentProblem(str(self), code=self.code, line=line, column=column)


def _unique(pairs: list[tuple[str, JSON]]) -> JSON:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    seen: set[str] = set()
    name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    raise _Refused(
        f"The key {json.dumps(name[:100])} appears more than once in one object.",
        token=json.dumps(name, ensure_ascii=False),
        code="json.duplicate_key",
        occurrences=2,
    )


def depth_of(content: bytes) -> int:
    """Return the depth of brackets outside strings. Uses no recursion."""
    brackets = _STRING.sub(b"", content).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_DEPTH_CHANGE.__getitem__, brackets)), default=0)


def _finite(digits: str) -> float:
    number = float(digits)
    if isinf(number):
        raise _Refused("A number is beyond the range of a double.", token=digits)
    return number


def _bounded(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        message = f"A number has {len(digits):,} digits; at most {MAX_DIGITS:,} can be read."
        raise _Refused(message, token=digits)
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused(f"This is not JSON: {name} is not a JSON number.", token=name)


def _not_utf8(content: bytes, offset: int) -> DocumentProblem:
    line = content.count(b"\n", 0, offset) + 1
    column = len(content[content.rfind(b"\n", 0, offset) + 1 : offset].decode(errors="ignore")) + 1
    message = f"The document is not UTF-8: byte {content[offset]:#04x} at offset {offset}."
    return DocumentProblem(message, code="document.encoding", line=line, column=column)


def _at(text: str, offset: int, message: str) -> DocumentProblem:
    line, column = line_and_column(text, offset)
    return DocumentProblem(message, code="json.invalid", line=line, column=column)


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


class LineStarts:
    """Lines and columns of many offsets of a text."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def of(self, offset: int) -> tuple[int, int]:
        """Return line and column of an offset, both from 1."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


class Positions:
    """Positions of values in a text that is known to be JSON. Each object and list is read once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = LineStarts(text)
        self._children: dict[int, dict[str | int, int]] = {}

    def of(self, path: Sequence[str | int]) -> tuple[int, int]:
        """Return line and column, both from 1, of the value at `path` or its nearest parent."""
        offset = self._skip(0)
        for key in path:
            if offset not in self._children:
                self._children[offset] = self._read_children(offset)
            child = self._children[offset].get(key)
            if child is None:
                break
            offset = child
        return self._lines.of(offset)

    def _read_children(self, offset: int) -> dict[str | int, int]:
        match self._text[offset]:
            case "{":
                read_key: Callable[[int, int], tuple[str | int, int]] = self._read_name
            case "[":
                read_key = self._read_index
            case _:
                return {}
        return self._read_members(offset, read_key)

    def _read_members(
        self, offset: int, read_key: Callable[[int, int], tuple[str | int, int]]
    ) -> dict[str | int, int]:
        found: dict[str | int, int] = {}
        offset = self._skip(offset + 1)
        while self._text[offset] not in "]}":
            key, offset = read_key(len(found), offset)
            found[key] = offset
            _, end = _read_value(self._text, offset)
            offset = self._skip(end)
            if self._text[offset] == ",":
                offset = self._skip(offset + 1)
        return found

    def _read_name(self, index: int, offset: int) -> tuple[str, int]:
        name, end = _read_value(self._text, offset)
        return name, self._skip(self._skip(end) + 1)

    def _read_index(self, index: int, offset: int) -> tuple[int, int]:
        return index, offset

    def _skip(self, offset: int) -> int:
        text = self._text
        while text[offset] in _BLANKS:
            offset += 1
        return offset
