"""YAML engine: reads YAML 1.2 safely, and checks each document against a JSON Schema.

The documents are checked as JSON; the problems get their lines and columns in the YAML text.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from pydantic import Field, model_validator

from validibot.engines import json_schema
from validibot.engines.base import (
    Document,
    Engine,
    EngineConfig,
    EngineManifest,
    FileType,
    Output,
    Result,
)
from validibot.engines.problems import BadDocument, DocumentProblem, listed
from validibot.engines.yaml_text import YamlDocument, parse_yaml

_TRUNCATED = "problems.truncated"


class YamlConfig(EngineConfig):
    """Settings of the engine: the schema of each document, and how many documents there may be."""

    document: dict[str, Any] | bool | str | None = Field(
        default=None,
        alias="schema",
        title="JSON Schema",
        description="Schema of each document, as an object or text; without one only the syntax"
        " is checked.",
        examples=[{"type": "object", "required": ["name"]}],
    )
    documents: dict[str, dict[str, Any] | bool | str] = Field(
        default_factory=dict,
        title="Further schemas",
        description="Schemas that `$ref` names, by name.",
    )
    formats: bool | None = Field(
        default=None,
        title="Check formats",
        description="Whether `format` is asserted; by default as the draft says.",
    )
    several: bool = Field(
        default=True,
        title="Several documents",
        description="Whether the file may have more than one document, separated by `---`.",
    )

    @model_validator(mode="after")
    def must_compile(self) -> Self:
        if self.document is not None:
            json_schema.JsonSchemaConfig.model_validate(_for_json(self.model_dump(by_alias=True)))
        return self


def _for_json(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: config[name] for name in ("schema", "documents", "formats") if name in config}


def check(document: Document, config: Mapping[str, Any]) -> Result:
    """Check a document; `config` is a YamlConfig as JSON."""
    try:
        documents = parse_yaml(document.content)
    except BadDocument as bad:
        return Result((bad.problem,))
    outputs = {"document_count": len(documents)}
    if len(documents) > 1 and config.get("several") is False:
        line, column = documents[1].start
        message = f"The file has {len(documents)} documents; the step allows one."
        problem = DocumentProblem(message, code="yaml.several", line=line, column=column)
        return Result((problem,), outputs)
    problems: list[DocumentProblem] = []
    if config.get("schema") is not None:
        for number, each in enumerate(documents, start=1):
            title = f"Document {number}: " if len(documents) > 1 else ""
            problems += _problems(each, config, title=title)
    found = [problem for problem in problems if problem.code != _TRUNCATED]
    exact = len(found) == len(problems)
    return Result(listed(found, total=len(found), exact=exact), outputs)


def _problems(
    document: YamlDocument, config: Mapping[str, Any], *, title: str
) -> Iterator[DocumentProblem]:
    """Yield the problems of a document with their places in the YAML text."""
    content = json.dumps(document.value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    result = json_schema.check(Document(content, "document.json", ""), _for_json(config))
    for problem in result.problems:
        line, column = document.position_of(_steps(document.value, problem.path))
        yield replace(problem, message=title + problem.message, line=line, column=column)


def _steps(value: Any, pointer: str) -> Sequence[str | int]:
    """Return the keys and indexes of a JSON Pointer (RFC 6901) that exist in `value`."""
    steps: list[str | int] = []
    for part in pointer.split("/")[1:]:
        key: str | int = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and part.isdecimal():
            key = int(part)
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            break
        steps.append(key)
    return steps


ENGINE = Engine(
    EngineManifest(
        slug="yaml",
        title="YAML",
        description="Reads YAML 1.2 safely and checks each document against a JSON Schema.",
        validation_type="YAML_SCHEMA",
        version="1",
        accepts=(FileType(".yaml", "application/yaml"), FileType(".yml", "application/yaml")),
        outputs=(Output("document_count", "Number of documents", "", "document_count"),),
    ),
    check,
    YamlConfig,
)
