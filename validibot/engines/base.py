"""The interface of an engine: a manifest, the schema of its settings, and a pure function.

The function gets a document and the settings of a step, and returns problems and outputs. It never
raises for a bad document. Settings are checked against `config` when a step is saved, so that a
wrong schema is refused by the editor and not by each run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from validibot.engines.json_text import JSON, parse_json
from validibot.engines.problems import BadDocument, DocumentProblem
from validibot.engines.yaml_text import parse_yaml

# Limits of a child process, unless an engine has its own.
MAX_SECONDS = 30
MAX_MEMORY = 768 * 1024 * 1024
# The largest document that is held in memory, unless an engine has its own limit.
MAX_DOCUMENT_BYTES = 32 * 1024 * 1024


class EngineError(ValueError):
    """The step's configuration is invalid, so no document can be checked with it."""


class EngineBusy(Exception):
    """All child processes that this worker may have are in use; the same check may succeed later."""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """The answer of a language model, with the tokens as its endpoint counted them.

    `endpoint` is the host, and port if any, that answered.
    """

    text: str
    model: str
    endpoint: str
    prompt_tokens: int
    answer_tokens: int


class LanguageModel(Protocol):
    """The language model that an engine may ask, within its limits."""

    @property
    def max_document_bytes(self) -> int:
        """The largest document that may be sent."""

    def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> ModelAnswer:
        """Return the answer to messages, which should be JSON of a schema. Raises EngineError."""


@dataclass(frozen=True)
class Document:
    """A submitted file, with the name and type that its sender declared."""

    content: bytes
    filename: str
    mime_type: str
    # Of engines that read their context: further files by name, and values of names in scope.
    files: Mapping[str, bytes] = field(default_factory=dict)
    names: Mapping[str, JSON] = field(default_factory=dict)
    # Of engines that ask a language model; None if there is none.
    model: LanguageModel | None = None

    @property
    def is_yaml(self) -> bool:
        """Whether the file is YAML by its name."""
        return self.filename.lower().endswith((".yaml", ".yml"))

    @cached_property
    def payload(self) -> JSON:
        """The value of a JSON or YAML document, parsed once. Raises BadDocument.

        A YAML file with several documents is a list of their values.
        """
        if not self.is_yaml:
            return parse_json(self.content)
        values = [document.value for document in parse_yaml(self.content)]
        return values if len(values) > 1 else values[0]

    def payload_or_none(self) -> JSON:
        """Return the value of the document, or None if it is neither JSON nor YAML."""
        try:
            return self.payload
        except BadDocument:
            return None


@dataclass(frozen=True, slots=True)
class FileType:
    """A kind of file that an engine accepts."""

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
class EnginePort:
    """A place for a file of the step, such as a table that foreign keys refer to.

    `extensions` are those that the file's name may have.
    """

    port_key: str
    type: str
    title: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EngineManifest:
    """The catalogue entry of an engine, and the limits of its child process (see sandbox).

    `seconds` is processor time and `memory` bytes of address space; `max_bytes` is the size of the
    largest document. With `reads_context` the document comes with files and names in scope, with
    `asks_model` with the language model of the site. `credits` is the price of a step that has no other.
    """

    slug: str
    title: str
    description: str
    validation_type: str
    version: str
    accepts: tuple[FileType, ...]
    outputs: tuple[Output, ...] = ()
    ports: tuple[EnginePort, ...] = ()
    reads_context: bool = False
    asks_model: bool = False
    credits: int | None = None
    max_bytes: int = MAX_DOCUMENT_BYTES
    seconds: float = MAX_SECONDS
    memory: int = MAX_MEMORY


@dataclass(frozen=True, slots=True)
class Result:
    """The problems and outputs of a check. The document passes when no problem is an ERROR."""

    problems: tuple[DocumentProblem, ...] = ()
    outputs: Mapping[str, JSON] = field(default_factory=dict)


class EngineConfig(BaseModel):
    """The settings of a step; this base class has none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Engine:
    """A validator inside Django: its manifest, its check, and the schema of its settings.

    `check` raises EngineError for an invalid configuration, and nothing for an invalid document.
    """

    manifest: EngineManifest
    check: Callable[[Document, Mapping[str, Any]], Result]
    config: type[EngineConfig] = EngineConfig
