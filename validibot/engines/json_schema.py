"""JSON Schema engine: draft 2020-12 unless the schema names another.

jsonschema-rs decides whether a document is valid, and lists the problems of a small one. It builds
the whole list in memory, so the problems of a large document are listed in a child process by the
package jsonschema, which yields them one by one: the first ones are kept and the others counted.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NoReturn, Self

import jsonschema
import jsonschema_rs
from jsonschema_specifications import REGISTRY as SPECIFICATIONS
from pydantic import Field, model_validator

from validibot.engines.base import (
    Document,
    Engine,
    EngineConfig,
    EngineError,
    EngineManifest,
    FileType,
    Result,
)
from validibot.engines.json_text import JSON, Positions, decode_text
from validibot.engines.problems import MAX_PROBLEMS, BadDocument, DocumentProblem, listed
from validibot.engines.sandbox import run_in_child

MAX_SCHEMA_CHARACTERS = 1024 * 1024
# Problems of larger documents are listed in a child process. The limits are commas, and bytes of the
# document times bytes of the schema, because a message quotes the document.
MAX_COMMAS_HERE = 5_000
MAX_WORK_HERE = 2**30
# The child process reports its count after this many problems.
COUNT_INTERVAL = 10_000
# Steps that a pattern with look-around may take; all other patterns run in linear time.
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)
# Before draft 2019-09 `format` was asserted unless a validator was told otherwise.
_FORMATS_ASSERTED = (
    jsonschema.Draft3Validator,
    jsonschema.Draft4Validator,
    jsonschema.Draft6Validator,
    jsonschema.Draft7Validator,
)


# Message, code (the keyword) and path.
type Found = tuple[str, str, Sequence[str | int]]


class JsonSchemaConfig(EngineConfig):
    """Settings of the engine: a schema (object or text), and whether `format` is asserted."""

    document: dict[str, Any] | bool | str = Field(alias="schema")
    formats: bool | None = None

    @model_validator(mode="after")
    def must_compile(self) -> Self:
        _compiled(_schema_text({"schema": self.document}), self.formats)
        return self


def check(document: Document, config: Mapping[str, Any]) -> Result:
    """Check a document; `config` is a JsonSchemaConfig as JSON."""
    schema, formats = _schema_text(config), config.get("formats")
    validator = _compiled(schema, formats)
    try:
        payload = document.payload
    except BadDocument as bad:
        return Result((bad.problem,))
    if validator.is_valid(payload):
        return Result()
    content = document.content
    small = content.count(b",") <= MAX_COMMAS_HERE and len(content) * len(schema) <= MAX_WORK_HERE
    if not small:
        return Result(_list_in_child(validator, payload, content, schema, formats))
    errors = list(validator.iter_errors(payload))
    found = map(_described, errors[:MAX_PROBLEMS])
    return Result(listed(_placed(found, content), total=len(errors)))


def list_problems(header: Mapping[str, Any], body: bytes) -> Iterator[Any]:
    """Yield the first problems as [message, code, path], then growing counts, then `null`.

    Runs in a child process (see sandbox).
    """
    schema, formats = json.loads(header["schema"]), header["formats"]
    validator_class = jsonschema.validators.validator_for(
        schema, default=jsonschema.Draft202012Validator
    )
    if formats is None:
        formats = validator_class in _FORMATS_ASSERTED
    validator = validator_class(
        schema,
        registry=SPECIFICATIONS,
        format_checker=validator_class.FORMAT_CHECKER if formats else None,
    )
    count = 0
    for count, error in enumerate(validator.iter_errors(json.loads(body)), start=1):
        if count <= MAX_PROBLEMS:
            yield [error.message[:2000], error.validator or "falseSchema", [*error.absolute_path]]
        elif count % COUNT_INTERVAL == 0:
            yield count
    yield count
    yield None


def _list_in_child(
    validator: jsonschema_rs.Validator,
    payload: JSON,
    content: bytes,
    schema: str,
    formats: bool | None,
) -> tuple[DocumentProblem, ...]:
    text = decode_text(content)
    lines = run_in_child(list_problems, {"schema": schema, "formats": formats}, text.encode())
    complete = bool(lines) and lines[-1] is None
    found = [line for line in lines if isinstance(line, list)]
    counts = [line for line in lines if isinstance(line, int)]
    if not found:  # it reached its limit before the first problem, or found none
        first = _described(_first_error(validator, payload))
        return listed(_placed([first], content), total=1, exact=False)
    total = max([len(found), *counts])
    return listed(_placed(map(tuple, found), content), total=total, exact=complete)


def _first_error(
    validator: jsonschema_rs.Validator, payload: JSON
) -> jsonschema_rs.ValidationError:
    try:
        validator.validate(payload)
    except jsonschema_rs.ValidationError as error:
        return error
    raise AssertionError("The document was invalid a moment ago.")


def _schema_text(config: Mapping[str, Any]) -> str:
    schema = config.get("schema")
    if schema is None:
        raise EngineError("The step has no schema: set `schema` in its configuration.")
    text = schema if isinstance(schema, str) else json.dumps(schema)
    if len(text) > MAX_SCHEMA_CHARACTERS:
        raise EngineError(f"The schema has more than {MAX_SCHEMA_CHARACTERS} characters.")
    return text


@lru_cache(maxsize=256)
def _compiled(schema: str, formats: bool | None) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(
            json.loads(schema),
            validate_formats=formats,
            registry=_meta_schemas(),
            pattern_options=_PATTERNS,
        )
    except jsonschema_rs.ValidationError as error:
        where = _pointer(error.instance_path) or "its root"
        raise EngineError(f"The schema is invalid at {where}: {error.message}") from None
    except (ValueError, RecursionError) as error:
        raise EngineError(f"The schema cannot be read: {error}") from None


@cache
def _meta_schemas() -> jsonschema_rs.Registry:
    """Return the schemas of all drafts, the only ones to which a schema may refer."""
    known = [(uri, resource.contents) for uri, resource in SPECIFICATIONS.items()]
    return jsonschema_rs.Registry(known, retriever=_refuse)


def _refuse(uri: str) -> NoReturn:
    raise ValueError("only references within the schema and to the drafts are followed")


def _described(error: jsonschema_rs.ValidationError) -> Found:
    return error.message, error.kind.name, error.instance_path


def _placed(found: Iterable[Found], content: bytes) -> list[DocumentProblem]:
    """Return the problems with line and column, in the order of the document."""
    positions = Positions(decode_text(content))
    problems = [
        DocumentProblem(message, "ERROR", code, _pointer(path), *positions.of(path))
        for message, code, path in found
    ]
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


def _pointer(path: Sequence[str | int]) -> str:
    """Return a path as a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


ENGINE = Engine(
    EngineManifest(
        slug="json-schema",
        title="JSON Schema",
        description="Checks a JSON document against a JSON Schema (draft 2020-12 by default).",
        validation_type="JSON_SCHEMA",
        version="1",
        accepts=(FileType(".json", "application/json"), FileType(".epjson", "application/json")),
    ),
    check,
    JsonSchemaConfig,
)
