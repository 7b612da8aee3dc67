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
        schema = parse_schema(json.loads(text), named_schemas=named)
        _refuse_endless(schema, named)
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


def _refuse_endless(schema: Any, named: Mapping[str, Any]) -> None:
    """Raise ValueError for an array of values without bytes: a few bytes would be a billion of them.

    `named` are the types that the schema defines.
    """
    waiting = [schema]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            if found["type"] == "array" and _is_empty(found["items"], named, frozenset()):
                raise ValueError("items of an array must have a size")
            waiting += [found[key] for key in ("items", "values", "type") if key in found]
            waiting += [field["type"] for field in found.get("fields", ())]


def _is_empty(schema: Any, named: Mapping[str, Any], above: frozenset[str]) -> bool:
    """Return whether every value of a schema has no bytes."""
    if isinstance(schema, str):
        if schema not in named or schema in above:
            return schema == "null"
        return _is_empty(named[schema], named, above | {schema})
    if isinstance(schema, dict):
        if schema["type"] in ("record", "error"):
            return all(_is_empty(each["type"], named, above) for each in schema["fields"])
        return schema["type"] == "null" or schema.get("size") == 0
    return False
