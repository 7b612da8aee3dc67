"""Workflow files: one version of a workflow as one readable text, and back.

The text is YAML with its keys in a fixed order and without what has its default, so a version gives
the same text each time and a change of it is a small difference. Files (samples, weather) stand in
the text, or beside it in a bundle (see bundle). Reading checks shape and types and finds the line of
each problem; importing (see importing) checks against the catalogue.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from validibot.accounts.profile import visible_line
from validibot.core.echo import echo, shortened
from validibot.engines import JSON, BadDocument
from validibot.engines.yaml_text import YamlDocument, parse_yaml
from validibot.workflows.models import MAX_RETENTION_DAYS
from validibot.workflows.yaml_writer import write_yaml

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
FORMAT = "validibot.workflow.v1"
MAX_STEPS = 100
MAX_ROWS = 500
MAX_SAMPLES = 20
MAX_PROBLEMS = 50

type Extension = Annotated[str, Field(max_length=20)]
# A name is a part of a path and of a header: no separators, no control characters, not `..`.
_NO_NAME = r"/\\\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069"
FILE_NAME = rf"^[^.{_NO_NAME}][^{_NO_NAME}]*$"
# As the editor takes it: without characters that cannot be seen.
type LineText = Annotated[str, AfterValidator(visible_line)]
type FileName = Annotated[str, Field(max_length=200, pattern=FILE_NAME)]
type Place = tuple[str | int, ...]
type Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Section(BaseModel):
    """A part of a workflow file: unknown keys and other types than declared are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ConstantSection(Section):
    """A named value that expressions use as `c.<name>`."""

    name: str
    data_type: str | None = None
    value: Any
    description: str | None = None


class ContentSection(Section):
    """A file: its `text`, its bytes as `base64`, or its `path` in the bundle; `sha256` checks it."""

    sha256: Digest | None = None
    text: str | None = None
    base64: str | None = None
    path: Annotated[str, Field(max_length=300)] | None = None

    @model_validator(mode="after")
    def has_one_content(self) -> "ContentSection":
        given = [each for each in (self.text, self.base64, self.path) if each is not None]
        if len(given) > 1:
            raise ValueError("give only one of `text`, `base64` and `path`")
        return self


class _StepFileName(Section):
    """The keys of a file of a step that stand before its content."""

    port: Annotated[str, Field(max_length=255)]
    name: FileName


class StepFileSection(ContentSection, _StepFileName):
    """A file of a step for one port of its validator; without content it is found by `sha256`."""


class _SampleName(Section):
    """The keys of a sample that stand before its content."""

    filename: FileName
    title: Annotated[str, Field(max_length=150)] = ""
    passes: bool = True
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=255)], Annotated[str, Field(max_length=2000)]],
        Field(max_length=100),
    ] = {}


class SampleSection(ContentSection, _SampleName):
    """A small file to try the workflow with; `passes` is whether its run should pass."""


class SignalSection(Section):
    """A value that a step adds to its outputs."""

    name: str
    expression: str


class AssertionSection(Section):
    """A CEL expression that must be true."""

    expression: str
    when: str = ""
    severity: str = "ERROR"
    message: str = ""
    success_message: str = ""
    path: str = ""
    notes: str = ""


class StepSection(Section):
    """A step. `validator` is the slug of a validator with its version: `json-schema@1`."""

    name: LineText
    description: str = ""
    validator: Annotated[str, Field(pattern=r"^[-\w]+(@[-+.\w]+)?$", max_length=101)]
    is_enabled: bool = True
    when: str = ""
    on_failure: str = "stop"
    severity: str = "ERROR"
    message: str = ""
    success_message: str = ""
    config: dict[str, Any] = {}
    weather: str = ""
    scenario: str = ""
    files: Annotated[list[StepFileSection], Field(max_length=20)] = []
    signals: Annotated[list[SignalSection], Field(max_length=MAX_ROWS)] = []
    assertions: Annotated[list[AssertionSection], Field(max_length=MAX_ROWS)] = []


class RetentionSection(Section):
    """The days for which submitted files and results are kept after the end of a run."""

    input_days: Annotated[int, Field(ge=1, le=MAX_RETENTION_DAYS)] | None = None
    result_days: Annotated[int, Field(ge=1, le=MAX_RETENTION_DAYS)] | None = None


class WorkflowFile(Section):
    """A workflow. The order of the fields here is the order of the keys in a file."""

    format: Literal["validibot.workflow.v1"]
    slug: str
    name: LineText
    description: str = ""
    success_message: str = ""
    accepted_types: list[Extension] = []
    input_schema: str = ""
    retention: RetentionSection = RetentionSection()
    constants: Annotated[list[ConstantSection], Field(max_length=MAX_ROWS)] = []
    steps: Annotated[list[StepSection], Field(max_length=MAX_STEPS)] = []
    samples: Annotated[list[SampleSection], Field(max_length=MAX_SAMPLES)] = []


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """A problem of a workflow file; `place` has keys and indexes: `steps.0.config`."""

    message: str
    line: int = 1
    place: str = ""

    def __str__(self) -> str:
        where = f"Line {self.line}, {self.place}" if self.place else f"Line {self.line}"
        return f"{where}: {self.message}"


class ImportInvalid(Exception):
    """A workflow file cannot be imported; `problems` are all that were found, at most 50."""

    def __init__(self, *problems: ImportProblem) -> None:
        super().__init__("\n".join(str(each) for each in problems))
        self.problems = problems[:MAX_PROBLEMS]


@dataclass(frozen=True, slots=True)
class ReadWorkflow:
    """A workflow file that has the right shape, with the lines of its values."""

    file: WorkflowFile
    source: YamlDocument

    def problem(self, place: Place, message: str) -> ImportProblem:
        return _problem(self.source, place, message)


def read_workflow(content: bytes) -> ReadWorkflow:
    """Read the text of a workflow file. Raises ImportInvalid."""
    try:
        source, *others = parse_yaml(content)
    except BadDocument as error:
        problem = error.problem
        raise ImportInvalid(ImportProblem(problem.message, problem.line or 1)) from None
    if others:
        message = "The file has a second document. Import them one by one."
        raise ImportInvalid(ImportProblem(message, others[0].start[0]))
    if not isinstance(source.value, dict):
        message = f"This is no workflow file: it must be an object with `format: {FORMAT}`."
        raise ImportInvalid(ImportProblem(message))
    if unstorable := next(unstorable_places(source.value), None):
        message = "A text contains U+0000 or half of a surrogate pair."
        raise ImportInvalid(_problem(source, unstorable, message))
    try:
        return ReadWorkflow(WorkflowFile.model_validate(source.value), source)
    except ValidationError as error:
        raise ImportInvalid(*_faults(error, source)) from None


def write_workflow(file: WorkflowFile) -> str:
    """Return the text of a workflow file."""
    return write_yaml(file.model_dump(mode="json", exclude_unset=True))


def _faults(error: ValidationError, source: YamlDocument) -> Iterator[ImportProblem]:
    for fault in error.errors(include_url=False)[:MAX_PROBLEMS]:
        place = tuple(fault["loc"])
        message = str(fault.get("ctx", {}).get("error", fault["msg"])).rstrip(".")
        if fault["type"] == "extra_forbidden":
            message = f"{echo(place[-1])} is not a key here"
        elif fault["type"] == "missing":
            message = f"The key {echo(place[-1])} is missing"
        yield _problem(source, place, f"{message}.")


def _problem(source: YamlDocument, place: Place, message: str) -> ImportProblem:
    return ImportProblem(
        message, source.position_of(place)[0], ".".join(shortened(str(part)) for part in place)
    )


def unstorable_places(value: JSON, place: Place = ()) -> Iterator[Place]:
    """Yield the places of texts that PostgreSQL cannot hold."""
    match value:
        case str():
            if _UNSTORABLE.search(value):
                yield place
        case dict():
            for key, item in value.items():
                yield from unstorable_places(key, (*place, key))
                yield from unstorable_places(item, (*place, key))
        case list():
            for index, item in enumerate(value):
                yield from unstorable_places(item, (*place, index))
