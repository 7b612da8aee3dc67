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
_DEEPEST = 200  # levels of the JSON of a definition
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
        _bound(schema, named, frozenset())
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


def _bound(schema: Any, named: Mapping[str, Any], above: frozenset[str]) -> None:
    """Make the work for a value a small multiple of its bytes, or raise ValueError.

    A type inside itself would overflow the stack. Values without bytes (`null` outside a union) may
    be a billion in an array of a few bytes. Defaults are taken away: in a message all fields are
    present. `named` are the types that the schema defines, `above` those around it.
    """
    if isinstance(schema, str):
        if schema in above:
            raise ValueError(f"the type {schema} contains itself, which is not emulated")
    elif isinstance(schema, list):
        for each in schema:
            _bound(each, named, above)
    else:
        inside = above | ({schema["name"]} if "name" in schema else set())
        fields = schema.get("fields", ())
        for field in fields:
            field.pop("default", None)
        parts = [schema[key] for key in ("items", "values") if key in schema]
        for part in (*parts, *(field["type"] for field in fields)):
            if _has_no_bytes(part, named):
                raise ValueError(f"values of {part} have no bytes, which is not emulated")
            _bound(part, named, inside)


def _has_no_bytes(schema: Any, named: Mapping[str, Any]) -> bool:
    found = named.get(schema, schema) if isinstance(schema, str) else schema
    if not isinstance(found, dict):
        return bool(found == "null")
    is_record = found["type"] in ("record", "error")
    return found["type"] == "null" or found.get("size") == 0 or (is_record and not found["fields"])
