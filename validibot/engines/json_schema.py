"""JSON Schema, by jsonschema-rs: draft 2020-12 unless the schema names another."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, NoReturn, Self

import jsonschema_rs
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
from validibot.engines.json_positions import Positions
from validibot.engines.json_text import decode_text
from validibot.engines.problems import MAX_PROBLEMS, BadDocument, Problem, truncated

MAX_SCHEMA_CHARACTERS = 1024 * 1024
# Steps a pattern with look-around may take; all other patterns run in linear time.
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)


class JsonSchemaConfig(EngineConfig):
    """Settings of the engine: a schema (object or text), and whether `format` is asserted."""

    document: dict[str, Any] | bool | str = Field(alias="schema")
    formats: bool | None = None

    @model_validator(mode="after")
    def must_compile(self) -> Self:
        _compiled(_schema_text({"schema": self.document}), self.formats)
        return self


def check(document: Document, config: Mapping[str, Any]) -> Result:
    """`config` has `schema` (object or text) and may have `formats`: whether `format` asserts."""
    validator = _compiled(_schema_text(config), config.get("formats"))
    try:
        payload = document.payload
    except BadDocument as bad:
        return Result((bad.problem,))
    if validator.is_valid(payload):
        return Result()
    errors = islice(validator.iter_errors(payload), MAX_PROBLEMS + 1)
    problems = _problems(errors, decode_text(document.content))
    return Result(truncated(sorted(problems, key=lambda problem: (problem.line, problem.column))))


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
            retriever=_refuse,
            pattern_options=_PATTERNS,
        )
    except jsonschema_rs.ValidationError as error:
        where = _pointer(error.instance_path) or "its root"
        raise EngineError(f"The schema is wrong at {where}: {error.message}") from None
    except (ValueError, RecursionError) as error:
        raise EngineError(f"The schema cannot be read: {error}") from None


def _refuse(uri: str) -> NoReturn:
    raise ValueError("only references within the schema are followed")


def _problems(errors: Iterable[jsonschema_rs.ValidationError], text: str) -> Iterable[Problem]:
    positions = Positions(text)
    for error in errors:
        line, column = positions.of(error.instance_path)
        yield Problem(
            error.message,
            code=error.kind.name,
            path=_pointer(error.instance_path),
            line=line,
            column=column,
        )


def _pointer(path: Sequence[str | int]) -> str:
    """Write a path as RFC 6901 does."""
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
