"""Filters of lists of secrets and versions: `name:web AND labels.env=prod`, `state=ENABLED`.

See https://docs.cloud.google.com/secret-manager/docs/filtering. OR binds closer than AND.
"""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from google.protobuf.json_format import MessageToDict

from devenv.gcp.errors import InvalidArgument

_Test: TypeAlias = Callable[[Mapping[str, Any]], bool]
_LONGEST, _DEEPEST = 2048, 20
_TOKEN = re.compile(
    r"""\s*(?:(?P<sign>!=|>=|<=|[=<>:()-])|"(?P<quoted>[^"]*)"|(?P<word>[^\s"=<>:!()]+))"""
)
_VALUE = re.compile(r"""\s*(?P<word>[^\s"=<>!()]+)""")  # behind a sign; times have colons
_COMPARISONS = frozenset(("sign", each) for each in ("=", "!=", ">", ">=", "<", "<=", ":"))
_ORDERS: Mapping[str, Callable[[str, str], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def parse_filter(text: str) -> Callable[[Any], bool]:
    """Return the test of messages that a filter describes. Raises InvalidArgument."""
    if len(text) > _LONGEST:
        raise InvalidArgument(f"filter is longer than {_LONGEST} characters.")
    if not text.strip():
        return lambda _message: True
    test = _SecretFilter(text).test
    return lambda message: test(MessageToDict(message, preserving_proto_field_name=True))


class _SecretFilter:
    """A recursive descent over the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []  # kind and text
        place, text = 0, text.rstrip()
        while place < len(text):
            is_value = bool(self._tokens) and self._tokens[-1] in _COMPARISONS
            match = (is_value and _VALUE.match(text, place)) or _TOKEN.match(text, place)
            if match is None:
                raise _bad(text[place:][:20])
            kind = str(match.lastgroup)
            self._tokens.append((kind, match[kind]))
            place = match.end()
        self._next = 0
        self.test = self._all(depth=0)
        if self._next < len(self._tokens):
            raise _bad(self._peek()[1])

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("", "")

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        if not token[0]:
            raise _bad("its end")
        self._next += 1
        return token

    def _all(self, depth: int) -> _Test:
        tests = [self._any(depth)]
        while self._peek() not in (("", ""), ("sign", ")")):
            if self._peek() == ("word", "AND"):
                self._take()
            tests.append(self._any(depth))
        return lambda found: all(test(found) for test in tests)

    def _any(self, depth: int) -> _Test:
        tests = [self._term(depth)]
        while self._peek() == ("word", "OR"):
            self._take()
            tests.append(self._term(depth))
        return lambda found: any(test(found) for test in tests)

    def _term(self, depth: int) -> _Test:
        if depth > _DEEPEST:
            raise _bad("(")
        kind, text = self._take()
        if (kind, text) in (("word", "NOT"), ("sign", "-")):
            test = self._term(depth + 1)
            return lambda found: not test(found)
        if (kind, text) == ("sign", "("):
            test = self._all(depth + 1)
            if self._take() != ("sign", ")"):
                raise _bad(text)
            return test
        if kind == "sign":
            raise _bad(text)
        sign = self._peek()
        if sign[0] != "sign" or sign[1] in ("(", ")", "-"):
            return lambda found: text.lower() in str(found.get("name", "")).lower()
        self._take()
        value = self._take()
        if value[0] == "sign":
            raise _bad(value[1])
        return _comparison(text, sign[1], value[1])


def _comparison(path: str, sign: str, wanted: str) -> _Test:
    names = [re.sub("[A-Z]", lambda big: f"_{big[0].lower()}", path.partition(".")[0])]
    names += path.split(".")[1:]

    def test(found: Mapping[str, Any]) -> bool:
        value: Any = found
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        if sign == "!=":
            return not _equals(names, value, wanted)
        if value is None:
            return False
        if sign == ":":
            return _has(value, wanted)
        if sign == "=":
            return _equals(names, value, wanted)
        # Without its end a time with fractions of a second sorts behind the one without.
        return _ORDERS[sign](str(value).rstrip("Z"), wanted.rstrip("Z"))

    return test


def _equals(names: list[str], value: Any, wanted: str) -> bool:
    return value == wanted or (names == ["name"] and str(value).rpartition("/")[2] == wanted)


def _has(value: Any, wanted: str) -> bool:
    if wanted == "*":
        return True
    if isinstance(value, Mapping):
        return wanted in value
    return wanted.lower() in str(value).lower()


def _bad(text: str) -> InvalidArgument:
    return InvalidArgument(f"filter is not valid: {text[:40]!r} was not expected.")
