"""Bounded parsing of YAML 1.2 documents, with the positions of their values.

libyaml (by PyYAML) reads the syntax and gives events with positions; scalars get their type by the
core schema of YAML 1.2.2, section 10.3.2, so `no`, `0777` and `2026-01-02` are text, number and
text. No tag makes an object of Python. Depth, number of values and expansion of aliases are bounded
while events arrive, so a document of a few bytes cannot become one of gigabytes.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import yaml

from validibot.core.echo import echo
from validibot.engines.json_text import JSON, MAX_DEPTH, decode_text
from validibot.engines.problems import BadDocument, DocumentProblem

MAX_BYTES = 8 * 1024 * 1024
# Characters of all documents of a stream with their aliases written out; each value counts 16 more.
MAX_SIZE = 16 * 1024 * 1024
MAX_DOCUMENTS = 1000
_CONSTANTS: dict[str, JSON] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_BASES = {"0o": 8, "0x": 16}
_INTEGER = re.compile(r"[-+]?[0-9]{1,4000}|0o[0-7]{1,1000}|0x[0-9a-fA-F]{1,1000}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_PREFIX = "tag:yaml.org,2002:"
_TAGS = {"null": type(None), "bool": bool, "int": int, "float": float}
_CONTAINERS = {None, "!", f"{_PREFIX}map", f"{_PREFIX}seq"}

type Position = tuple[int, int]


class YamlDocument(NamedTuple):
    """A document of a stream; `places` has the positions of the children of each container."""

    value: JSON
    start: Position
    places: dict[int, dict[str | int, Position]]

    def position_of(self, path: Sequence[str | int]) -> Position:
        """Return line and column, both from 1, of the value at `path` or its nearest parent."""
        found, value = self.start, self.value
        for key in path:
            position = self.places.get(id(value), {}).get(key)
            if position is None:
                break
            found, value = position, value[key]  # type: ignore[index]
        return found


def parse_yaml(content: bytes) -> list[YamlDocument]:
    """Return the documents of a stream, at least one. Raises BadDocument."""
    if len(content) > MAX_BYTES:
        message = (
            f"The document has {len(content)} bytes; at most {MAX_BYTES} of YAML can be checked."
        )
        raise BadDocument(DocumentProblem(message, code="document.too_large"))
    text = decode_text(content)
    reader = _EventReader()
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            reader.take(event)
    except yaml.reader.ReaderError as error:
        reason = f"the character {error.character:#x} is not allowed"
        raise _invalid(reason, _position_of_byte(text, error.position)) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f" {error.context}" if error.context else ""
        raise _invalid(f"{error.problem}{context}", _at(mark) if mark else None) from None
    if not reader.documents:
        raise BadDocument(DocumentProblem("The document is empty.", code="document.empty"))
    return reader.documents


def _invalid(reason: str, position: Position | None, code: str = "yaml.invalid") -> BadDocument:
    line, column = position or (None, None)
    message = f"This is not YAML: {reason}." if code == "yaml.invalid" else reason
    return BadDocument(DocumentProblem(message, code=code, line=line, column=column))


def _position_of_byte(text: str, offset: int) -> Position:
    before = text.encode()[:offset].decode(errors="ignore")
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _at(mark: Any) -> Position:
    return mark.line + 1, mark.column + 1


class _Open:
    """A mapping or sequence that is being read."""

    def __init__(self, event: Any) -> None:
        self.value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.anchor: str | None = event.anchor
        self.start = _at(event.start_mark)
        self.places: dict[str | int, Position] = {}
        self.key: str | None = None
        self.size = 0
        self.height = 1

    @property
    def awaits_key(self) -> bool:
        return isinstance(self.value, dict) and self.key is None


class _EventReader:
    """The state of reading events: open containers, anchors and the size so far."""

    def __init__(self) -> None:
        self.documents: list[YamlDocument] = []
        self._open: list[_Open] = []
        self._places: dict[int, dict[str | int, Position]] = {}
        # Values by anchor, with their sizes and levels.
        self._anchors: dict[str, tuple[JSON, int, int]] = {}
        self._size = 0

    def take(self, event: Any) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self._places, self._anchors = {}, {}
                if len(self.documents) == MAX_DOCUMENTS:
                    message = f"The file has more than {MAX_DOCUMENTS} documents."
                    raise _invalid(message, _at(event.start_mark), "yaml.too_many_documents")
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._start(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end()

    def _start(self, event: Any) -> None:
        self._refuse_depth(1, event)
        if event.tag not in _CONTAINERS:
            _refuse_tag(event)
        self._refuse_as_key("a list or object", event)
        self._count(16, event)
        self._open.append(_Open(event))

    def _end(self) -> None:
        done = self._open.pop()
        self._places[id(done.value)] = done.places
        self._put(done.value, done.start, done.size, done.height)
        if done.anchor:
            self._anchors[done.anchor] = (done.value, done.size, done.height)

    def _scalar(self, event: Any) -> None:
        size = 16 + len(event.value)
        self._count(size, event)
        if self._open and self._open[-1].awaits_key:
            self._key(event)
            self._open[-1].size += size
            value: JSON = event.value
        else:
            value = _scalar(event)
            self._put(value, _at(event.start_mark), size)
        if event.anchor:
            self._anchors[event.anchor] = (value, size, 0)

    def _key(self, event: Any) -> None:
        owner, key = self._open[-1], event.value
        if key in owner.value:
            line, _ = owner.places[key]
            message = (
                f"The key {echo(key)} appears more than once in one object; the value of the"
                f" first one is on line {line}."
            )
            raise _invalid(message, _at(event.start_mark), "yaml.duplicate_key")
        owner.key = key

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            reason = f"the alias *{event.anchor[:100]} has no anchor before it"
            raise _invalid(reason, _at(event.start_mark))
        self._refuse_as_key("an alias", event)
        value, size, height = self._anchors[event.anchor]
        self._refuse_depth(height, event)
        self._count(size, event)
        self._put(value, _at(event.start_mark), size, height)

    def _put(self, value: JSON, position: Position, size: int, height: int = 0) -> None:
        if not self._open:
            self.documents.append(YamlDocument(value, position, self._places))
            return
        owner = self._open[-1]
        owner.size += size
        owner.height = max(owner.height, height + 1)
        if owner.key is not None:
            owner.value[owner.key] = value
            owner.places[owner.key] = position
            owner.key = None
        else:
            owner.places[len(owner.value)] = position
            owner.value.append(value)

    def _refuse_depth(self, height: int, event: Any) -> None:
        if len(self._open) + height > MAX_DEPTH:
            message = f"The document is nested deeper than {MAX_DEPTH} levels."
            raise _invalid(message, _at(event.start_mark), "yaml.too_deep")

    def _refuse_as_key(self, kind: str, event: Any) -> None:
        if self._open and self._open[-1].awaits_key:
            raise _invalid(f"a key must be a text, not {kind}", _at(event.start_mark))

    def _count(self, size: int, event: Any) -> None:
        self._size += size
        if self._size > MAX_SIZE:
            message = (
                f"The document has more than {MAX_SIZE // 2**20} MB if its aliases are written out,"
                " or too many values. Split it."
            )
            raise _invalid(message, _at(event.start_mark), "yaml.too_large")


def _scalar(event: Any) -> JSON:
    """Return the value of a scalar: by its tag, or by the core schema if it is plain."""
    text: str = event.value
    tag = (event.tag or "").removeprefix(_PREFIX)
    if tag == "str" or (tag in ("", "!") and not event.implicit[0]):
        return text
    value = _by_core_schema(text, event)
    if tag and _TAGS.get(tag) != type(value):  # noqa: E721 # bool is an int
        _refuse_tag(event)
    return value


def _by_core_schema(text: str, event: Any) -> JSON:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text, _BASES.get(text[:2], 10))
    if _FLOAT.fullmatch(text):
        if math.isfinite(number := float(text)):
            return number
        raise _invalid("a number is beyond the range of a double", _at(event.start_mark))
    if _NOT_FINITE.fullmatch(text):
        reason = f"JSON has no number {text}; write a finite number, or quote it"
        raise _invalid(reason, _at(event.start_mark))
    return text


def _refuse_tag(event: Any) -> NoReturn:
    reason = f"the tag {echo(event.tag)} does not fit its value, or is unknown"
    raise _invalid(reason, _at(event.start_mark))
