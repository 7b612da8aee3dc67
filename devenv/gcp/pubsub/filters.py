"""The filter language of subscriptions: conditions on the attributes of a message.

See https://cloud.google.com/pubsub/docs/subscription-message-filter. A filter is a sequence of
conditions that AND or OR join; the two need parentheses to be mixed.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from devenv.gcp.errors import InvalidArgument

MessageFilter: TypeAlias = Callable[[Mapping[str, str]], bool]
"""Returns whether a message with these attributes is delivered."""

_MOST_BYTES = 256
_DEEPEST = 20
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<word>[A-Za-z0-9_][A-Za-z0-9_-]*)"""
    r"""|(?P<sign>!=|[=:.(),-]))"""
)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{3}|.)")
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def parse_filter(text: str) -> MessageFilter:
    """Return the filter that `text` describes; an empty one lets all messages pass.

    Raises InvalidArgument, which names the place of the first problem.
    """
    if not text.strip():
        return lambda _attributes: True
    if len(text.encode()) > _MOST_BYTES:
        raise InvalidArgument(f"The filter is longer than {_MOST_BYTES} bytes.")
    return _FilterParser(text).parse()


class _FilterParser:
    """A recursive descent over the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, int]] = []
        end, text = 0, text.rstrip()
        while end < len(text):
            found = _TOKEN.match(text, end)
            if found is None:
                raise self._problem(end)
            self._tokens.append((found[0].strip(), end))
            end = found.end()
        self._next = 0

    def parse(self) -> MessageFilter:
        found = self._expression(0)
        if self._peek():
            raise self._problem(self._place())
        return found

    def _expression(self, depth: int) -> MessageFilter:
        if depth > _DEEPEST:
            raise self._problem(self._place())
        terms = [self._term(depth)]
        joiner = self._peek() if self._peek() in ("AND", "OR") else ""
        while self._peek() in ("AND", "OR"):
            if self._take() != joiner:
                raise InvalidArgument(
                    "The filter mixes AND and OR without parentheses: use parentheses to group them."
                )
            terms.append(self._term(depth))
        if joiner == "OR":
            return lambda attributes: any(term(attributes) for term in terms)
        return lambda attributes: all(term(attributes) for term in terms)

    def _term(self, depth: int) -> MessageFilter:
        if self._peek() in ("NOT", "-"):
            self._take()
            inner = self._term(depth + 1) if depth < _DEEPEST else self._expression(depth + 1)
            return lambda attributes: not inner(attributes)
        if self._peek() == "(":
            self._take()
            inner = self._expression(depth + 1)
            self._expect(")")
            return inner
        if self._peek() == "hasPrefix":
            return self._prefix()
        return self._comparison()

    def _prefix(self) -> MessageFilter:
        self._expect("hasPrefix")
        self._expect("(")
        self._expect("attributes")
        self._expect(".")
        key = self._key()
        self._expect(",")
        start = self._string()
        self._expect(")")
        return lambda attributes: key in attributes and attributes[key].startswith(start)

    def _comparison(self) -> MessageFilter:
        self._expect("attributes")
        if self._peek() == ":":
            self._take()
            key = self._key()
            return lambda attributes: key in attributes
        self._expect(".")
        key = self._key()
        if self._peek() not in ("=", "!="):
            raise self._problem(self._place())
        equal = self._take() == "="
        value = self._string()
        return lambda attributes: (attributes.get(key) == value) is equal

    def _key(self) -> str:
        token = self._peek()
        if token.startswith('"'):
            return self._string()
        if not token or not re.fullmatch(r"[A-Za-z0-9_-]+", token):
            raise self._problem(self._place())
        return self._take()

    def _string(self) -> str:
        if not self._peek().startswith('"'):
            raise self._problem(self._place())
        return _ESCAPE.sub(_unescaped, self._take()[1:-1])

    def _peek(self) -> str:
        return self._tokens[self._next][0] if self._next < len(self._tokens) else ""

    def _place(self) -> int:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else len(self._text)

    def _take(self) -> str:
        token = self._peek()
        self._next += 1
        return token

    def _expect(self, wanted: str) -> None:
        if self._peek() != wanted:
            raise self._problem(self._place())
        self._take()

    def _problem(self, place: int) -> InvalidArgument:
        near = self._text[place : place + 20].strip() or "the end"
        return InvalidArgument(
            f"Invalid filter: syntax error at position {place}, near {near!r}. A condition looks like "
            'attributes:KEY, attributes.KEY = "VALUE" or hasPrefix(attributes.KEY, "VALUE").'
        )


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1]
    if code[0] in "xuU" and len(code) > 1:
        number = int(code[1:], 16)
        return chr(number) if number < 0x110000 else "\ufffd"
    if len(code) == 3:
        return chr(int(code, 8))
    return _SIMPLE.get(code, code)
