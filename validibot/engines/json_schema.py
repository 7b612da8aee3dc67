"""JSON Schema engine: draft 2020-12 unless the schema names another.

jsonschema-rs decides whether a document is valid, and lists the problems of a small one. It builds
the whole list in memory, so the problems of a large document are listed in a child process by the
package jsonschema, which yields them one by one: the first MAX_PROBLEMS are kept, the others counted.
A schema that may look at a value very often (see json_cost) is used in the child process only.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, Self

import jsonschema
import jsonschema_rs
from jsonschema_specifications import REGISTRY as SPECIFICATIONS
from pydantic import Field, model_validator
from referencing.jsonschema import EMPTY_REGISTRY, specification_with

from validibot.engines.base import (
    Document,
    Engine,
    EngineConfig,
    EngineManifest,
    FileType,
    Result,
)
from validibot.engines.json_cost import evaluations
from validibot.engines.json_documents import Schemas, compile_schemas, pointer, read_schemas
from validibot.engines.json_reasons import Reason, described, from_compiled, from_listed
from validibot.engines.json_text import JSON, Positions, decode_text, depth_of
from validibot.engines.problems import MAX_PROBLEMS, BadDocument, DocumentProblem, listed
from validibot.engines.sandbox import run_in_child, too_expensive

# Problems of larger documents are listed in a child process. The limits are commas, and bytes of the
# document times bytes of the schema, because a message quotes the document.
MAX_COMMAS_HERE = 5_000
MAX_WORK_HERE = 2**30
# More problems are put into words in a child process.
MAX_PROBLEMS_HERE = 1_000
# Evaluations of a subschema that may be made in this process, which take about 2 s.
MAX_EVALUATIONS_HERE = 20_000_000
# The child process reports its count after this many problems.
COUNT_INTERVAL = 10_000
# Before draft 2019-09 `format` was asserted unless a validator was told otherwise.
_FORMATS_ASSERTED = (
    jsonschema.Draft4Validator,
    jsonschema.Draft6Validator,
    jsonschema.Draft7Validator,
)

# Message, code (the keyword) and path.
type Found = tuple[str, str, Sequence[str | int]]


class JsonSchemaConfig(EngineConfig):
    """Settings of the engine: a schema, and those to which it refers, each an object or text."""

    document: dict[str, Any] | bool | str = Field(
        alias="schema",
        title="JSON Schema",
        description="Draft 2020-12, unless the schema names another.",
    )
    documents: dict[str, dict[str, Any] | bool | str] = Field(
        default_factory=dict,
        title="Further schemas",
        description="Schemas that `$ref` names, by name.",
    )
    formats: bool | None = Field(
        None,
        title="Check formats",
        description="Whether `format` is asserted; by default as the draft says.",
    )

    @model_validator(mode="after")
    def must_compile(self) -> Self:
        _compiled(read_schemas(self.model_dump(by_alias=True)), self.formats)
        return self


class CompiledSchemas(NamedTuple):
    """A validator, and how often it may look at a value at each depth of a document."""

    validator: jsonschema_rs.Validator
    evaluations: Sequence[float]

    def is_expensive(self, content: bytes) -> bool:
        """Return whether a document may need more evaluations than this process should make."""
        values = content.count(b",") + content.count(b":") + 1
        if self.evaluations[-1] * values <= MAX_EVALUATIONS_HERE:
            return False
        depth = min(depth_of(content), len(self.evaluations) - 1)
        return self.evaluations[depth] * values > MAX_EVALUATIONS_HERE


def check(document: Document, config: Mapping[str, Any]) -> Result:
    """Check a document; `config` is a JsonSchemaConfig as JSON."""
    try:
        payload = document.payload
    except BadDocument as bad:
        return Result((bad.problem,))
    if not document.is_yaml:
        return _check_json(payload, document.content, config)
    # The JSON that a YAML file writes out to: aliases hide its size. Its lines are not the file's.
    content = json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass")
    result = _check_json(payload, content, config)
    return Result(tuple(replace(each, line=None, column=None) for each in result.problems))


def _check_json(payload: JSON, content: bytes, config: Mapping[str, Any]) -> Result:
    """Check a value; `content` is its JSON text."""
    schemas, formats = read_schemas(config), config.get("formats")
    validator, _ = compiled = _compiled(schemas, formats)
    if compiled.is_expensive(content):
        return Result(_list_in_child(content, schemas, formats))
    if validator.is_valid(payload):
        return Result()
    commas = content.count(b",")
    if commas > MAX_COMMAS_HERE or len(content) * schemas.size > MAX_WORK_HERE:
        first = from_compiled(_first_error(validator, payload))
        return Result(_list_in_child(content, schemas, formats, known=first))
    errors = list(validator.iter_errors(payload))
    if len(errors) > MAX_PROBLEMS_HERE:
        return Result(_list_in_child(content, schemas, formats, known=from_compiled(errors[0])))
    found = described(map(from_compiled, errors))
    return Result(listed(_placed(found, content), total=len(errors)))


def list_problems(header: Mapping[str, Any], body: bytes) -> Iterator[Any]:
    """Yield whether the document is valid, then its first problems, growing counts, and `null`.

    A problem is a list of message, code and path. Runs in a child process (see sandbox).
    """
    documents = tuple((name, text) for name, text in header["documents"])
    schemas, formats = Schemas(header["schema"], documents), header["formats"]
    payload = json.loads(body)
    if not header["known"]:
        valid = _compiled(schemas, formats).validator.is_valid(payload)
        yield valid
        if valid:
            return
    count = 0
    errors = _lister(schemas, formats).iter_errors(payload)
    for found in described(map(from_listed, islice(errors, MAX_PROBLEMS))):
        count += 1
        yield list(found)
    for _ in errors:
        count += 1
        if count % COUNT_INTERVAL == 0:
            yield count
    yield count
    yield None


def _lister(schemas: Schemas, formats: bool | None) -> Any:
    """Return a validator of the package jsonschema."""
    main = json.loads(schemas.main)
    kind = jsonschema.validators.validator_for(main, default=jsonschema.Draft202012Validator)
    specification = specification_with(kind.META_SCHEMA["$schema"])
    resources = [
        (uri, specification.create_resource(contents)) for uri, contents in schemas.resources()
    ]
    if formats is None:
        formats = kind in _FORMATS_ASSERTED
    registry = SPECIFICATIONS.combine(EMPTY_REGISTRY.with_resources(resources))
    return kind(main, registry=registry, format_checker=kind.FORMAT_CHECKER if formats else None)


def _list_in_child(
    content: bytes, schemas: Schemas, formats: bool | None, *, known: Reason | None = None
) -> tuple[DocumentProblem, ...]:
    """List problems in a child process; `known` is the first, if the document is known to be invalid."""
    header = {**schemas._asdict(), "formats": formats, "known": known is not None}
    header["schema"] = header.pop("main")
    lines = run_in_child(
        list_problems,
        header,
        decode_text(content).encode(),
        ENGINE.manifest,
    )
    if lines and lines[0] is True:
        return ()
    complete = bool(lines) and lines[-1] is None
    found = [line for line in lines if isinstance(line, list)]
    counts = [line for line in lines if type(line) is int]
    if found:
        total = max([len(found), *counts])
        return listed(_placed(map(tuple, found), content), total=total, exact=complete)
    if known is not None:
        return listed(_placed(described([known]), content), total=1, exact=False)
    if lines:
        problem = DocumentProblem("The document does not match the schema.", code="json.schema")
        return listed([problem], total=1, exact=False)
    return (too_expensive(ENGINE.manifest),)


def _first_error(
    validator: jsonschema_rs.Validator, payload: JSON
) -> jsonschema_rs.ValidationError:
    try:
        validator.validate(payload)
    except jsonschema_rs.ValidationError as error:
        return error
    raise AssertionError("The document was invalid a moment ago.")


@lru_cache(maxsize=256)
def _compiled(schemas: Schemas, formats: bool | None) -> CompiledSchemas:
    return CompiledSchemas(compile_schemas(schemas, formats), evaluations(schemas))


def _placed(found: Iterable[Found], content: bytes) -> list[DocumentProblem]:
    """Return the problems with line and column, in the order of the document."""
    positions = Positions(decode_text(content))
    problems = [
        DocumentProblem(message, "ERROR", code, pointer(path), *positions.of(path))
        for message, code, path in found
    ]
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


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
