"""Availability conditions: the part of CEL that access boundaries are written in.

Known are `resource.name`, `resource.type`, `resource.service`, `api.getAttribute(NAME, DEFAULT)`,
texts, `==`, `!=`, `startsWith`, `endsWith`, `contains`, `!`, `&&`, `||`, `true`, `false` and
brackets. Everything else makes a condition that never holds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<mark>\|\||&&|==|!=|[!().,])|"""
    r"(?P<word>[A-Za-z_]\w*))\s*"
)
_LONGEST = 2048  # https://cloud.google.com/iam/docs/conditions-overview: 2,048 characters
_DEEPEST = 32
_METHODS = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": str.__contains__,
}


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a condition may ask about."""

    resource: Mapping[str, str]
    api: Mapping[str, str]


class _Malformed(Exception):
    pass


def holds(condition: str, attributes: Attributes) -> bool:
    """Return whether `condition` is true of `attributes`; one that cannot be read is not."""
    try:
        parser = _Parser(_tokens(condition), attributes)
        value = parser.either()
        parser.end()
    except _Malformed:
        return False
    return value


def _tokens(condition: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    if len(condition) > _LONGEST:
        raise _Malformed
    while position < len(condition):
        match = _TOKEN.match(condition, position)
        if not match:
            raise _Malformed
        tokens.append(match[0].strip())
        position = match.end()
    return tokens


class _Parser:
    """Evaluates while it reads; both sides of an operator are always read."""

    def __init__(self, tokens: list[str], attributes: Attributes) -> None:
        self._tokens = tokens[::-1]
        self._attributes = attributes
        self._depth = 0

    def either(self) -> bool:
        value = self._both()
        while self._accept("||"):
            value = self._both() or value
        return value

    def end(self) -> None:
        if self._tokens:
            raise _Malformed

    def _both(self) -> bool:
        value = self._single()
        while self._accept("&&"):
            value = self._single() and value
        return value

    def _single(self) -> bool:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Malformed
        try:
            if self._accept("!"):
                return not self._single()
            if self._accept("("):
                value = self.either()
                self._expect(")")
                return value
            if self._peek() in ("true", "false"):
                return self._next() == "true"
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> bool:
        left = self._text()
        if self._accept("=="):
            return left == self._text()
        if self._accept("!="):
            return left != self._text()
        self._expect(".")
        method = _METHODS.get(self._next())
        if method is None:
            raise _Malformed
        self._expect("(")
        right = self._text()
        self._expect(")")
        return method(left, right)

    def _text(self) -> str:
        word = self._next()
        if word[0] in "'\"":
            return re.sub(r"\\(.)", r"\1", word[1:-1])
        self._expect(".")
        member = self._next()
        if word == "resource" and member in self._attributes.resource:
            return self._attributes.resource[member]
        if (word, member) != ("api", "getAttribute"):
            raise _Malformed
        return self._attribute()

    def _attribute(self) -> str:
        self._expect("(")
        name = self._text()
        self._expect(",")
        default = self._text()
        self._expect(")")
        return self._attributes.api.get(name, default)

    def _peek(self) -> str:
        return self._tokens[-1] if self._tokens else ""

    def _next(self) -> str:
        if not self._tokens:
            raise _Malformed
        return self._tokens.pop()

    def _accept(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._tokens.pop()
        return True

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise _Malformed
