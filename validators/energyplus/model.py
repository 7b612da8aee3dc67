"""Building models as objects with fields, read from IDF or epJSON and edited as a copy.

Both readers take time proportional to the size of the file, whatever it contains: the file is a
stranger's. IDF has no nesting (`Class, field, field;`, comments from `!` to the end of the line);
the nesting of epJSON is limited. `tests/bench/parsers.py` measures the growth.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from validators.energyplus.text import ModelUnreadable

NESTING_LIMIT = 50
"""Levels below a field of epJSON; the schema needs two (a list of objects)."""

_COMMENT = re.compile(r"![^\n]*")
_NOT_NEWLINE = re.compile(r"[^\n]+")

type Fields = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ModelField:
    """Field of a class: its position after the class name in IDF, and its name in epJSON."""

    position: int
    key: str


@dataclass(frozen=True, kw_only=True)
class ModelObject:
    """Object of a model: its class and every field as text, in order, the name first.

    `keys` are the names of the fields where the format has them; `index` is its place among the
    model's objects, `line` its line in the file if the format tells.
    """

    kind: str
    values: tuple[str, ...]
    keys: tuple[str, ...] = ()
    index: int = field(default=0, compare=False)
    line: int | None = field(default=None, compare=False)

    def value(self, position: int, key: str) -> str:
        """Return a field by its epJSON name, or in IDF by its position after the class name."""
        if self.keys:
            return self.values[self.keys.index(key)] if key in self.keys else ""
        return self.values[position] if position < len(self.values) else ""

    def get(self, field: ModelField) -> str:
        """Return the text of a field; empty if the object does not have it."""
        return self.value(field.position, field.key)

    def is_a(self, *kinds: str) -> bool:
        """Return whether the class is one of these; EnergyPlus ignores case."""
        return self.kind.lower() in {kind.lower() for kind in kinds}


class Model(ABC):
    """Model that can be searched, edited and written. `objects` are those of the file."""

    file_name: str
    objects: list[ModelObject]
    is_rewritten: bool
    """Whether the lines of the model's file are not those of the submitted one."""

    @abstractmethod
    def update(self, item: ModelObject, values: Mapping[ModelField, str | int]) -> None:
        """Set fields of an object."""

    @abstractmethod
    def extend(self, item: ModelObject, key: str, entries: Sequence[Fields]) -> None:
        """Append entries to the list at the end of an object, in epJSON called `key`."""

    @abstractmethod
    def remove(self, item: ModelObject) -> None:
        """Remove an object."""

    @abstractmethod
    def add(self, kind: str, fields: Fields) -> None:
        """Add an object."""

    @abstractmethod
    def dump(self) -> bytes:
        """Return the content of the model's file."""

    def of_kind(self, *kinds: str) -> list[ModelObject]:
        """Return the objects of these classes."""
        return [item for item in self.objects if item.is_a(*kinds)]


def read_model(text: str, *, epjson: bool, lines: bool = True) -> Model:
    """Read a model. Raises ModelUnreadable.

    Objects have their line if the format tells it and `lines` says that it is the submitted file's.
    """
    return EpjsonModel(text) if epjson else IdfModel(text, lines=lines)


class IdfModel(Model):
    """Model in EnergyPlus's own format. Edits keep the line numbers of what was submitted."""

    file_name = "model.idf"

    def __init__(self, text: str, *, lines: bool = True) -> None:
        self._text = text
        self._lines = lines
        self.is_rewritten = not lines
        self._added: list[str] = []
        self._spans: list[tuple[int, int]] = []
        self._edits: dict[int, str] = {}
        self._end = 0
        self.objects = []
        # Comments become spaces, so that positions and line numbers stay the file's own.
        bare = _COMMENT.sub(lambda comment: " " * len(comment.group()), text)
        start, line = 0, 1
        # No regex: one that looks for the next `;` from each position of a tail without any
        # takes the square of its length.
        while (end := bare.find(";", start)) >= 0:
            line = self._append(bare, start, end, line)
            start = self._end = end + 1
        # The engine takes what follows the last `;` as an object, too.
        self._append(bare, start, len(bare), line)

    def _append(self, bare: str, start: int, end: int, line: int) -> int:
        """Add the object between two positions, if there is one; return the line of its end."""
        body = bare[start:end].lstrip()
        begin = end - len(body)
        line += bare.count("\n", start, begin)
        kind, *values = (part.strip() for part in body.split(","))
        if kind:
            self._spans.append((begin, end))
            self.objects.append(
                ModelObject(
                    kind=kind,
                    values=tuple(values),
                    index=len(self.objects),
                    line=line if self._lines else None,
                )
            )
        return line + bare.count("\n", begin, end)

    def update(self, item: ModelObject, values: Mapping[ModelField, str | int]) -> None:
        # Only the field's own text changes: comments and lines of the object stay.
        text = self._body(item)
        bare = _COMMENT.sub(lambda comment: " " * len(comment.group()), text)
        _, *present = bare.split(",")
        wanted = {field.position: str(value) for field, value in values.items()}
        ends = len(bare)
        for position in range(len(present) - 1, -1, -1):
            if position in wanted:
                old = present[position]
                begin = ends - len(old.lstrip()) if old.strip() else ends - len(old)
                text = text[:begin] + wanted[position] + text[begin + len(old.strip()) :]
            ends -= len(present[position]) + 1
        missing = [
            wanted.get(position, "")
            for position in range(len(present), max(wanted, default=-1) + 1)
        ]
        self._edits[item.index] = _with_more(text, missing)

    def extend(self, item: ModelObject, key: str, entries: Sequence[Fields]) -> None:
        self._edits[item.index] = _with_more(
            self._body(item), [value for fields in entries for value in _flat(fields)]
        )

    def remove(self, item: ModelObject) -> None:
        begin, end = self._spans[item.index]
        self._edits[item.index] = _NOT_NEWLINE.sub("", self._text[begin:end])

    def add(self, kind: str, fields: Fields) -> None:
        self._added.append(",".join([kind, *_flat(fields)]) + ";")

    def dump(self) -> bytes:
        # Added objects come before one that lacks its `;`: it would swallow what follows it.
        added = "".join(f"\n{each}" for each in self._added)
        rest = self._edited(self._end, len(self._text))
        return "".join([self._edited(0, self._end), added, rest, "\n"]).encode()

    def _edited(self, start: int, stop: int) -> str:
        """Return a part of the text that begins and ends between objects, with its edits."""
        pieces: list[str] = []
        for index in sorted(self._edits):
            begin, end = self._spans[index]
            if start <= begin < stop:
                edit = self._edits[index]
                pieces += [self._text[start:begin], edit]
                # The `;` of a removed object goes with it.
                start = end if edit.strip() else min(end + 1, stop)
        return "".join([*pieces, self._text[start:stop]])

    def _body(self, item: ModelObject) -> str:
        begin, end = self._spans[item.index]
        return self._edits.get(item.index, self._text[begin:end])


def _with_more(text: str, values: Sequence[str]) -> str:
    """Return the text of an object with further fields, placed before a comment at its end."""
    bare = _COMMENT.sub(lambda comment: " " * len(comment.group()), text)
    place = len(bare.rstrip())
    return text[:place] + "".join(f",{value}" for value in values) + text[place:]


class EpjsonModel(Model):
    """Model in EnergyPlus's JSON format: classes, in them named objects, in them fields."""

    file_name = "model.epJSON"
    is_rewritten = True

    def __init__(self, text: str) -> None:
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise ModelUnreadable(
                f"The model is not valid JSON: {error.msg} at line {error.lineno}, "
                f"column {error.colno}.",
                code="ENERGYPLUS_INVALID_JSON",
                line=error.lineno,
            ) from error
        except (RecursionError, ValueError) as error:
            raise ModelUnreadable(
                "The model is not valid JSON: it is nested too deeply or has a number that is "
                "too long.",
                code="ENERGYPLUS_INVALID_JSON",
            ) from error
        if not _is_epjson(data):
            raise ModelUnreadable(
                "The model is JSON but not epJSON: an object of classes, each an object of named "
                "objects, is expected.",
                code="ENERGYPLUS_INVALID_EPJSON",
            )
        if not _is_shallow(data):
            raise ModelUnreadable(
                f"A field of the model has more than {NESTING_LIMIT} levels of lists and objects.",
                code="ENERGYPLUS_INVALID_EPJSON",
            )
        self._data: dict[str, dict[str, dict[str, Any]]] = data

        self.objects = [
            ModelObject(
                kind=kind,
                keys=("name", *fields),
                values=(name, *(" ".join(_leaves(value)) for value in fields.values())),
                index=index,
            )
            for index, (kind, name, fields) in enumerate(
                (kind, name, fields)
                for kind, named in data.items()
                for name, fields in named.items()
            )
        ]

    def update(self, item: ModelObject, values: Mapping[ModelField, str | int]) -> None:
        self._fields(item).update({field.key: value for field, value in values.items()})

    def extend(self, item: ModelObject, key: str, entries: Sequence[Fields]) -> None:
        present = self._fields(item).setdefault(key, [])
        if isinstance(present, list):  # otherwise the engine says what is wrong
            present.extend(entries)

    def remove(self, item: ModelObject) -> None:
        del self._data[item.kind][item.values[0]]

    def add(self, kind: str, fields: Fields) -> None:
        named = self._data.setdefault(kind, {})
        name = fields.get("name", f"Validibot {len(named) + 1}")
        named[name] = {key: value for key, value in fields.items() if key != "name" and value != ""}

    def dump(self) -> bytes:
        return json.dumps(self._data).encode()

    def _fields(self, item: ModelObject) -> dict[str, Any]:
        return self._data[item.kind][item.values[0]]


def _is_epjson(data: object) -> bool:
    return isinstance(data, dict) and all(
        isinstance(named, dict) and all(isinstance(fields, dict) for fields in named.values())
        for named in data.values()
    )


def _is_shallow(data: object) -> bool:
    """Return whether no field is nested so deeply that walking or writing it would fail."""
    level: list[Any] = [data]
    for _ in range(NESTING_LIMIT + 3):  # classes, objects and fields lie above
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return not level


def _flat(fields: Fields) -> Iterator[str]:
    for value in fields.values():
        yield from _leaves(value)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _flat(value)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield str(value)
