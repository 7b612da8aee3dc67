"""Validation of a large XML document by XSD as a stream, with the place of each problem.

libxml2 computes the path of each error of a tree, which costs the square of the number of siblings,
and a stream has no paths. Here a target of the parser counts siblings as they come: libxml2 calls it
before it reports the errors of an element, so that the element is known then.
"""

import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

from lxml import etree

from validibot.engines.problems import MAX_PROBLEMS, DocumentProblem
from validibot.engines.xml_grammars import CompiledSchema, problem_of

# lxml keeps every problem in its own log, which takes 400 MB for so many.
MAX_COUNTED = 1_000_000
_CHUNK_BYTES = 64 * 1024


def has_errors(schema: CompiledSchema, content: bytes) -> bool:
    """Return whether a document has errors; reading stops soon after the first."""
    parser = schema.parser()
    for offset in range(0, len(content), _CHUNK_BYTES):
        parser.feed(content[offset : offset + _CHUNK_BYTES])
        if len(parser.feed_error_log):
            return True
    with suppress(etree.XMLSyntaxError):  # the syntax was checked before
        parser.close()
    return bool(len(parser.feed_error_log))


def stream_problems(
    schema: CompiledSchema, content: bytes
) -> tuple[int, Iterator[DocumentProblem]]:
    """Return the number of problems, and the first MAX_PROBLEMS of them.

    The number is negative if reading stopped, at MAX_COUNTED problems or after half of the time that the
    process has: what was found until then is worth more than nothing. The log of the process is replaced,
    so this is for child processes.
    """
    places = _Places()
    log = _PlacedLog(places)
    etree.use_global_python_log(log)
    parser = schema.parser(places)
    seconds = resource.getrlimit(resource.RLIMIT_CPU)[0]
    # The process may take twice as much real time as processor time.
    stop_at = time.monotonic() + seconds
    for chunk, ends_line in _chunks(content):
        is_late = time.monotonic() > stop_at or time.process_time() > seconds / 2
        if is_late or log.count > MAX_COUNTED:
            return -log.count, log.problems()
        parser.feed(chunk)
        places.line += ends_line
    with suppress(etree.XMLSyntaxError):  # the syntax was checked before
        parser.close()
    return log.count, log.problems()


def _chunks(content: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield lines in parts of bounded size, and whether the line ends with the part."""
    for line in content.splitlines(keepends=True):
        for start in range(0, len(line), _CHUNK_BYTES):
            yield line[start : start + _CHUNK_BYTES], start + _CHUNK_BYTES >= len(line)


@dataclass(slots=True)
class _Element:
    """An element: its name in paths, its number among siblings of this name, and its line.

    `prefixes` has those of the namespaces in scope, by their address.
    """

    parent: Self | None
    name: str
    number: int
    line: int
    prefixes: Mapping[str, str | None]
    children: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path as libxml2 writes it; known when the whole document is read."""
        if self.parent is None:
            return ""
        around = self.parent
        total = around.children if self.name == "*" else around.counts[self.name]
        number = f"[{self.number}]" if total > 1 else ""
        return f"{around.path}/{self.name}{number}"


class _Places:
    """Target of a parser that knows the element of the event that is being handled."""

    def __init__(self) -> None:
        self.line = 1
        self.element = _Element(None, "", 1, 1, {})
        self._open = [self.element]

    def start(self, tag: str, attributes: object, namespaces: Mapping[str, str]) -> None:
        parent = self._open[-1]
        prefixes = parent.prefixes
        if namespaces:
            prefixes = {**prefixes, **{uri: prefix or None for prefix, uri in namespaces.items()}}
        uri, _, local = tag.rpartition("}")
        prefix = prefixes.get(uri[1:]) if uri else ""
        # libxml2 names elements of a namespace without prefix by their number alone.
        name = "*" if prefix is None else f"{prefix}:{local}" if prefix else local
        parent.children += 1
        parent.counts[name] = parent.counts.get(name, 0) + 1
        number = parent.children if name == "*" else parent.counts[name]
        self.element = _Element(parent, name, number, self.line, prefixes)
        self._open.append(self.element)

    def end(self, tag: str) -> None:
        self.element = self._open.pop()

    def data(self, text: str) -> None:
        self.element = self._open[-1]

    def close(self) -> None:
        """End the document; the parser calls it."""


class _PlacedLog(etree.PyErrorLog):  # type: ignore[misc]  # lxml has no types for it
    """The errors of a stream with the elements that they are about."""

    def __init__(self, places: _Places) -> None:
        super().__init__()
        self._places = places
        self._found: list[tuple[DocumentProblem, _Element]] = []
        self.count = 0

    def receive(self, entry: Any) -> None:
        self.count += 1
        if len(self._found) < MAX_PROBLEMS:
            self._found.append((problem_of(entry), self._places.element))

    def problems(self) -> Iterator[DocumentProblem]:
        for problem, element in self._found:
            yield replace(problem, path=element.path, line=element.line)
