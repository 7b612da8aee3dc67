"""Submitted model, as it was before the working copy was prepared: what messages are about.

The engine names objects in several ways: `Zone="OFFICE"`, `Zone = OFFICE`, `Zone=OFFICE`,
`<root>[Zone][Office][field]`, or the name alone in quotes. The second of two objects without a name is
`[Output:SQLite][Output:SQLite 2]`. Syntax errors have a line instead. Names are compared without case,
as the engine does.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

from validibot_shared.validations.envelopes import MessageLocation

from validators.energyplus.checks import model_version
from validators.energyplus.model import Model, ModelObject
from validators.energyplus.prepare import own_messages

ROLE = "primary-model"
_WORDS_OF_NAME = 12

_LINE = re.compile(r"^Line: (\d+) Index: (\d+)")
_SCHEMA = re.compile(r"^<root>\[([^\]]+)\](?:\[([^\]]*)\])?((?:\[[^\]]*\])*)")
_BRACKETED = re.compile(r"\[([^\]]*)\]")
# `Class="Name"`, `Class = NAME` (up to a comma or the end of the line) and quoted names.
_NAMED = re.compile(
    r'(?P<kind>[A-Za-z][\w:]*)? ?(?:=|\bnamed?\b) ?"(?P<quoted>[^"\n]+)"'
    r'|(?P<kind2>[A-Za-z][\w:]*) ?= ?(?P<bare>[^"\s,;][^",;\n]*)'
    r'|"(?P<alone>[^"\n]+)"'
)
_FIELD = re.compile(r"invalid (?P<field>[A-Z][A-Za-z0-9 _]*?|[a-z]+(?:_[a-z0-9]+)+) ?=")
_DUPLICATE = re.compile(r'^Duplicate name found for object of type "([^"\n]+)" named "([^"\n]+)"')
_NUMBERED = re.compile(r" ([1-9]\d{0,8})$")


class SubmittedModel:
    """Version of a model, its objects by name, and the messages that the model does not cause.

    Make it before the working copy is prepared, which changes the model. Without `same_lines` the
    engine reads a text that a preprocessor has written, whose lines are not the submitted ones.
    """

    def __init__(self, model: Model, *, same_lines: bool = True) -> None:
        self._same_lines = same_lines
        self.version = model_version(model)
        self.own_messages = own_messages(model)
        self._by_name: dict[str, list[ModelObject]] = defaultdict(list)
        self._by_kind: dict[str, list[ModelObject]] = defaultdict(list)
        for item in model.objects:
            self._by_kind[item.kind.lower()].append(item)
            if item.values:
                self._by_name[item.values[0].lower()].append(item)

    def locate(self, text: str) -> MessageLocation | None:
        """Return the place that a message names: an object of the model, or a line of its file."""
        if match := _LINE.match(text):
            return self._line(int(match[1]), int(match[2]))
        if match := _SCHEMA.match(text):
            item = self._find_schema_object(match[1], match[2] or "")
            fields = _BRACKETED.findall(match[3])
            return _place(item, *(part for part in (match[1], match[2], *fields) if part))
        if match := _DUPLICATE.match(text):
            twins = [each for each in self._by_name[match[2].lower()] if each.is_a(match[1])]
            return _place(twins[-1] if twins else None, match[1], match[2])
        for kind, name in _names(text):
            if item := self._find_beginning(name, kind):
                field = _FIELD.search(text)
                return _place(item, item.kind, item.values[0], *([field["field"]] if field else []))
        return None

    def _line(self, line: int, column: int) -> MessageLocation:
        if self._same_lines:
            return MessageLocation(file_role=ROLE, line=line, column=column)
        return MessageLocation(file_role=ROLE, path=f"line {line} of the expanded model")

    def _find_schema_object(self, kind: str, name: str) -> ModelObject | None:
        """Return an object by its name or number in its class; of a class alone the last one."""
        objects = self._by_kind[kind.lower()]
        if not name:
            return objects[-1] if objects else None
        if item := self._find(name, kind):
            return item
        number = _NUMBERED.search(name)
        if number and name[: number.start()].lower() == kind.lower():
            return next(iter(objects[int(number[1]) - 1 :][:1]), None)
        return None

    def _find_beginning(self, text: str, kind: str) -> ModelObject | None:
        """Return the object whose name the text is, or begins with: a name has no end mark."""
        words = text.split(" ")[:_WORDS_OF_NAME]
        for count in range(len(words), 0, -1):
            if item := self._find(" ".join(words[:count]), kind):
                return item
        return None

    def _find(self, name: str, kind: str) -> ModelObject | None:
        """Return the object with this name: of this class, or else the only one."""
        found = self._by_name.get(name.strip().lower(), [])
        for item in found:
            if item.is_a(kind):
                return item
        return found[0] if len(found) == 1 else None


def _place(item: ModelObject | None, *path: str) -> MessageLocation:
    return MessageLocation(file_role=ROLE, path="/".join(path), line=item.line if item else None)


def named_object(text: str) -> str | None:
    """Return the first name that a message has, whether or not the model has the object."""
    if match := _SCHEMA.match(text):
        return match[2]
    return next((name for _, name in _names(text)), None)


def _names(text: str) -> Iterator[tuple[str, str]]:
    for match in _NAMED.finditer(text):
        kind = match["kind"] or match["kind2"] or ""
        yield kind, (match["quoted"] or match["bare"] or match["alone"]).strip()
