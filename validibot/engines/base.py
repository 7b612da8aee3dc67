"""What an engine is: a manifest and a pure function from a document to problems and outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from validibot.engines.json_text import JSON, parse_json
from validibot.engines.problems import BadDocument, Problem


class EngineError(Exception):
    """The step's configuration is wrong: nothing can be said about any document."""


@dataclass(frozen=True)
class Document:
    """What was submitted. The name and type are the sender's claims."""

    content: bytes
    filename: str
    mime_type: str

    @cached_property
    def payload(self) -> JSON:
        """The document as JSON, parsed once. Raises BadDocument."""
        return parse_json(self.content)

    def payload_or_none(self) -> JSON:
        try:
            return self.payload
        except BadDocument:
            return None


@dataclass(frozen=True, slots=True)
class FileType:
    """A kind of file that an engine takes."""

    extension: str
    mime_type: str


@dataclass(frozen=True, slots=True)
class Output:
    """A value that an engine computes; `path` is where it is in the outputs, dotted."""

    slug: str
    label: str
    unit: str
    path: str


@dataclass(frozen=True, slots=True)
class EngineManifest:
    """What the catalogue says about an engine."""

    slug: str
    title: str
    description: str
    validation_type: str
    version: str
    accepts: tuple[FileType, ...]
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What an engine found. The document passes when no problem is an ERROR."""

    problems: tuple[Problem, ...] = ()
    outputs: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Engine:
    """`check` never raises for a bad document, and raises EngineError for a bad configuration."""

    manifest: EngineManifest
    check: Callable[[Document, Mapping[str, Any]], Result]
