"""Building models as objects with fields, read from IDF or epJSON and edited as a copy.

Both readers take time proportional to the size of the file, whatever it contains: the file is a
stranger's. IDF has no nesting (`Class, field, field;`, comments from `!` to the end of the line);
the nesting of epJSON is limited. `tests/bench/parsers.py` measures the growth.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SIZE_LIMIT = 64 << 20
NESTING_LIMIT = 50
"""Levels below a field of epJSON; the schema needs two (a list of objects)."""

_NOT_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f]")
_COMMENT = re.compile(r"![^\n]*")
_NOT_NEWLINE = re.compile(r"[^\n]+")

type Fields = Mapping[str, Any]


class ModelUnreadable(Exception):
    """Content that is not a building model."""

    def __init__(self, text: str, *, code: str, line: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.line = line


@dataclass(frozen=True, kw_only=True)
class ModelObject:
    """Object of a model: its class and every field as text, in order, the name first.

    `keys` are the names of the fields where the format has them, `line` is the first line of the
    object where the format shows it (IDF).
    """

    kind: str
    values: tuple[str, ...]
    keys: tuple[str, ...] = ()
    line: int | None = None

    def value(self, position: int, key: str) -> str:
        """Return a field by its epJSON name, or in IDF by its position after the class name."""
        if self.keys:
            return self.values[self.keys.index(key)] if key in self.keys else ""
        return self.values[position] if position < len(self.values) else ""

    def is_a(self, *kinds: str) -> bool:
        """Return whether the class is one of these; EnergyPlus ignores case."""
        return self.kind.lower() in {kind.lower() for kind in kinds}


class Model(ABC):
    """A model that can be searched, edited and written."""

    file_name: str

    @property
    @abstractmethod
    def objects(self) -> list[ModelObject]:
        """Return the objects in the order of the file."""

    @abstractmethod
    def replace(self, kind: str, *objects: Fields) -> None:
        """Drop every object of this class, then add these."""

    @abstractmethod
    def add(self, kind: str, fields: Fields) -> None:
        """Add an object."""

    @abstractmethod
    def dump(self) -> bytes:
        """Return the content of the model's file."""

    def of_kind(self, *kinds: str) -> list[ModelObject]:
        """Return the objects of these classes."""
        return [item for item in self.objects if item.is_a(*kinds)]


def read_model(content: bytes, *, epjson: bool) -> Model:
    """Read a model. Raises ModelUnreadable."""
    if len(content) > SIZE_LIMIT:
        raise ModelUnreadable(
            f"The model has {len(content)} bytes; {SIZE_LIMIT} are allowed.",
            code="ENERGYPLUS_MODEL_TOO_LARGE",
        )
    text = _text(content)
    return EpjsonModel(text) if epjson else IdfModel(text)


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Many IDFs carry Latin-1 in their comments, and the engine does not mind.
        text = content.decode("latin-1")
    if control := _NOT_TEXT.search(text):
        raise ModelUnreadable(
            f"The model is not a text file: it has a control character at position "
            f"{control.start()}.",
            code="ENERGYPLUS_NOT_TEXT",
        )
    return text


class IdfModel(Model):
    """Model in EnergyPlus's own format. Edits keep the line numbers of what was submitted."""

    file_name = "model.idf"

    def __init__(self, text: str) -> None:
        self._text = text
        self._added: list[str] = []
        self._spans: list[tuple[int, int]] = []
        self._objects: list[ModelObject] = []
        # Comments become spaces, so that positions and line numbers stay the file's own.
        bare = _COMMENT.sub(lambda comment: " " * len(comment.group()), text)
        start, line, counted = 0, 1, 0
        # No regex: one that looks for the next `;` from each position of a tail without any
        # takes the square of its length. What follows the last `;` is no object.
        while (end := bare.find(";", start)) >= 0:
            body = bare[start:end].lstrip()
            kind, *values = (part.strip() for part in body.split(","))
            if kind:
                begin = end - len(body)
                line += bare.count("\n", counted, begin)
                counted = begin
                self._spans.append((begin, end + 1))
                self._objects.append(ModelObject(kind=kind, values=tuple(values), line=line))
            start = end + 1

    @property
    def objects(self) -> list[ModelObject]:
        return self._objects

    def replace(self, kind: str, *objects: Fields) -> None:
        pieces: list[str] = []
        copied = 0
        for item, (start, end) in zip(self._objects, self._spans, strict=True):
            if item.is_a(kind):
                blank = _NOT_NEWLINE.sub(
                    lambda text: " " * len(text.group()), self._text[start:end]
                )
                pieces += [self._text[copied:start], blank]
                copied = end
        self._text = "".join([*pieces, self._text[copied:]])
        for fields in objects:
            self.add(kind, fields)

    def add(self, kind: str, fields: Fields) -> None:
        self._added.append(",".join([kind, *_flat(fields)]) + ";")

    def dump(self) -> bytes:
        return "\n".join([self._text, *self._added, ""]).encode()


class EpjsonModel(Model):
    """Model in EnergyPlus's JSON format: classes, in them named objects, in them fields."""

    file_name = "model.epJSON"

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

    @property
    def objects(self) -> list[ModelObject]:
        return [
            ModelObject(
                kind=kind,
                keys=("name", *fields),
                values=(name, *(" ".join(_leaves(value)) for value in fields.values())),
            )
            for kind, named in self._data.items()
            for name, fields in named.items()
        ]

    def replace(self, kind: str, *objects: Fields) -> None:
        for present in [name for name in self._data if name.lower() == kind.lower()]:
            del self._data[present]
        for fields in objects:
            self.add(kind, fields)

    def add(self, kind: str, fields: Fields) -> None:
        named = self._data.setdefault(kind, {})
        name = fields.get("name", f"Validibot {len(named) + 1}")
        named[name] = {key: value for key, value in fields.items() if key != "name"}

    def dump(self) -> bytes:
        return json.dumps(self._data).encode()


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
