"""Avro schemas of Pub/Sub: definitions, and messages in both encodings.

See https://avro.apache.org/docs/1.12.0/specification/ and
https://cloud.google.com/pubsub/docs/schemas.
"""

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import fastavro
from fastavro.schema import parse_schema
from fastavro.validation import validate

from devenv.gcp.errors import InvalidArgument

LONGEST_DEFINITION = 300_000  # bytes
_DEEPEST = 200  # levels of the JSON of a definition, and of types inside types
_MOST_TYPES = 20_000  # of a schema in which each name is replaced by its type
# fastavro raises what the wrong type of a value happens to raise.
_UNFIT = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, RecursionError, TypeError),
    ValueError,
)


def parse_definition(text: str) -> Any:
    """Return the schema of an Avro definition. Raises InvalidArgument."""
    if not text or len(text.encode()) > LONGEST_DEFINITION:
        raise InvalidArgument(f"schema.definition must have 1 to {LONGEST_DEFINITION} bytes.")
    try:
        named: dict[str, Any] = {}
        definition = json.loads(text)
        _check_depth(definition)
        schema = parse_schema(definition, named_schemas=named)
        _measure(schema, named, {})
    except (*_UNFIT, fastavro.schema.SchemaParseException) as error:
        raise InvalidArgument(
            f"schema.definition is not a valid Avro schema: {type(error).__name__}: {error}"[:500]
        ) from error
    return schema


def check_json(schema: Any, data: bytes) -> None:
    """Raise InvalidArgument unless `data` is one value of a schema in Avro's JSON encoding."""

    def read() -> None:
        text = data.decode()
        sent = json.loads(text)
        [value] = fastavro.json_reader(io.StringIO(text), schema)
        validate(value, schema, strict=isinstance(value, dict))
        if isinstance(sent, dict) and isinstance(value, dict) and (extra := set(sent) - set(value)):
            raise ValueError(f"the schema has no field {min(extra)!r}")

    _fit(read)


def check_binary(schema: Any, data: bytes) -> None:
    """Raise InvalidArgument unless `data` is one value of a schema in Avro's binary encoding."""

    def read() -> None:
        file = io.BytesIO(data)
        fastavro.schemaless_reader(file, schema, None)
        if rest := len(data) - file.tell():
            raise ValueError(f"{rest} bytes follow the value")

    _fit(read)


def _fit(read: Callable[[], None]) -> None:
    try:
        read()
    except (*_UNFIT, fastavro.validation.ValidationError) as error:
        reason = str(error) or type(error).__name__
        raise InvalidArgument(
            f"Invalid data in message: Message failed schema validation: {reason[:300]}"
        ) from error


def _check_depth(definition: Any) -> None:
    """Raise ValueError for a definition in which fastavro's compiled code would overflow its stack."""
    waiting = [(definition, 1)]
    while waiting:
        found, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"the schema has more than {_DEEPEST} levels")
        if isinstance(found, dict):
            waiting += [(each, depth + 1) for each in found.values()]
        elif isinstance(found, list):
            waiting += [(each, depth + 1) for each in found]


def _measure(
    schema: Any, named: Mapping[str, Any], known: dict[str, tuple[int, int]]
) -> tuple[int, int]:
    """Return how many types a schema has with names replaced by types, and how many levels.

    Raise ValueError unless the work for a value is a small multiple of its bytes: a type inside itself
    would overflow the stack, and twenty types that each name the one before twice are a million to
    fastavro. `named` are the types that the schema defines, `known` the measures of those read so far.
    """
    if isinstance(schema, str):
        if schema in named and schema not in known:
            raise ValueError(f"the type {schema} contains itself, which is not emulated")
        return known.get(schema, (1, 1))
    parts = schema if isinstance(schema, list) else _parts(schema, named)
    measures = [_measure(part, named, known) for part in parts]
    count = 1 + sum(each for each, _ in measures)
    levels = 1 + max((each for _, each in measures), default=0)
    if count > _MOST_TYPES:
        raise ValueError(f"the schema has more than {_MOST_TYPES} types, with names replaced")
    if levels > _DEEPEST:
        raise ValueError(f"the schema has more than {_DEEPEST} levels of types")
    if isinstance(schema, dict) and "name" in schema:
        known[schema["name"]] = (count, levels)
    return count, levels


def _parts(schema: dict[str, Any], named: Mapping[str, Any]) -> list[Any]:
    """Return the types of items, values and fields, and take the defaults of fields away.

    A message has all fields. Raise ValueError for values without bytes (`null` outside a union), of
    which an array of a few bytes may have a billion.
    """
    fields = schema.get("fields", ())
    for field in fields:
        field.pop("default", None)
    parts = [schema[key] for key in ("items", "values") if key in schema]
    parts += [field["type"] for field in fields]
    for part in parts:
        if _has_no_bytes(part, named):
            raise ValueError(f"values of {part} have no bytes, which is not emulated")
    return parts


def _has_no_bytes(schema: Any, named: Mapping[str, Any]) -> bool:
    found = named.get(schema, schema) if isinstance(schema, str) else schema
    if not isinstance(found, dict):
        return bool(found == "null")
    is_record = found["type"] in ("record", "error")
    return found["type"] == "null" or found.get("size") == 0 or (is_record and not found["fields"])
