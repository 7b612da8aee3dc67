"""Reads JSON from strangers: bounded in size and depth, and every refusal is a finding."""

import json
import re
from itertools import accumulate
from math import isinf
from typing import NoReturn

from validibot.engines.problems import BadDocument, Problem

type JSON = dict[str, JSON] | list[JSON] | str | int | float | bool | None

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 128

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_DEPTH_CHANGE = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_HUGE_NUMBER = re.compile(r"\d{300}|[eE]\+?\d{3}")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def decode_text(content: bytes) -> str:
    """Return the text of a UTF-8 document, without a byte order mark. Raises BadDocument."""
    if len(content) > MAX_BYTES:
        size = f"{len(content)} bytes; at most {MAX_BYTES} can be checked."
        raise BadDocument(Problem(f"The document has {size}", code="document.too_large"))
    try:
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise BadDocument(_not_utf8(content, error.start)) from None
    if not text.strip():
        raise BadDocument(Problem("The document is empty.", code="document.empty"))
    return text


def parse_json(content: bytes) -> JSON:
    """Return what `content` says; of a repeated key the last value. Raises BadDocument."""
    text = decode_text(content)
    if _too_deep(content):
        message = f"The document is nested deeper than {MAX_DEPTH} levels."
        raise BadDocument(Problem(message, code="json.too_deep"))
    try:
        parse_float = _finite if _HUGE_NUMBER.search(text) else None
        value: JSON = json.loads(text, parse_float=parse_float, parse_constant=_refuse_constant)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise BadDocument(_at(text, error.pos, f"This is not JSON: {error.msg}.")) from None
    except UnicodeEncodeError:
        message = "A string holds half of a surrogate pair, which is no character."
        raise BadDocument(Problem(message, code="json.invalid")) from None
    except ValueError as error:
        raise BadDocument(Problem(f"This is not JSON: {error}.", code="json.invalid")) from None
    return value


def _too_deep(content: bytes) -> bool:
    """Whether brackets outside strings are nested beyond the limit, found without recursion."""
    if content.count(b"[") + content.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _STRING.sub(b"", content).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_DEPTH_CHANGE.__getitem__, brackets)), default=0) > MAX_DEPTH


def _finite(digits: str) -> float:
    number = float(digits)
    if isinf(number):
        raise ValueError("a number is beyond what a double can hold")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _not_utf8(content: bytes, offset: int) -> Problem:
    line = content.count(b"\n", 0, offset) + 1
    column = len(content[content.rfind(b"\n", 0, offset) + 1 : offset].decode(errors="ignore")) + 1
    message = f"The document is not UTF-8: byte {content[offset]:#04x} at offset {offset}."
    return Problem(message, code="document.encoding", line=line, column=column)


def _at(text: str, offset: int, message: str) -> Problem:
    line, column = line_and_column(text, offset)
    return Problem(message, code="json.invalid", line=line, column=column)


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
