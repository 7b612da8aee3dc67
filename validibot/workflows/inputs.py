"""Inputs of a workflow: the metadata that a launch gives, described by a JSON Schema.

Senders give each value as a text. The schema names simple properties with a type, so that a form can
be made of it, the texts can be read as values of their types, and expressions get these values as `i`.
"""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from django.core.exceptions import ValidationError
from pydantic import ValidationError as InvalidModel

from validibot.core.echo import echo
from validibot.engines import BadDocument, Document, EngineError, get_engine
from validibot.engines.json_text import parse_json

MAX_INPUTS = 100
_MAX_NUMBER = 1e300
MAX_SCHEMA = 50_000
TYPES = ("string", "number", "integer", "boolean")
_KEYS = frozenset(
    {"$schema", "title", "description", "type", "properties", "required", "additionalProperties"}
)
_PROPERTY_KEYS = frozenset(
    {
        *("type", "title", "description", "default", "examples", "enum", "format", "pattern"),
        *("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
        "multipleOf",
    }
)


def check_input_schema(text: str) -> None:
    """Raise ValidationError unless the text is a JSON Schema that a form can be made of."""
    if not text:
        return
    if len(text) > MAX_SCHEMA:
        raise ValidationError(f"The schema has {len(text):,} characters; at most {MAX_SCHEMA:,}.")
    try:
        schema = parse_json(text.encode("utf-8", "surrogatepass"))
    except BadDocument as error:
        raise ValidationError(f"This is not JSON: {error.problem.message}") from None
    if faults := list(_faults(schema)):
        raise ValidationError(faults[:5])
    try:
        get_engine("json_schema").config.model_validate({"schema": text})
    except InvalidModel as error:
        fault = error.errors(include_url=False)[0]
        raise ValidationError(str(fault.get("ctx", {}).get("error", fault["msg"]))) from None


@lru_cache(maxsize=256)
def read_input_schema(text: str) -> Mapping[str, Any]:
    """Return the schema of a valid text; of an empty one an empty object."""
    schema: Mapping[str, Any] = json.loads(text) if text else {}
    return schema


def properties_of(text: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the schemas of the inputs by name, in their order."""
    properties: Mapping[str, Mapping[str, Any]] = read_input_schema(text).get("properties", {})
    return properties


def typed(text: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the metadata with the values that the schema says; other texts stay as they are."""
    properties = properties_of(text)
    return {
        name: _typed(value, properties[name].get("type", "")) if name in properties else value
        for name, value in metadata.items()
    }


def input_faults(text: str, metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the faults of the metadata by the name of the input; "" is the name of the whole."""
    if not text:
        return {}
    body = json.dumps(typed(text, metadata)).encode()
    document = Document(body, "metadata.json", "application/json")
    try:
        problems = get_engine("json_schema").check(document, {"schema": text}).problems
    except EngineError as error:
        return {"": str(error)}
    missing = [name for name in read_input_schema(text).get("required", []) if name not in metadata]
    faults = dict.fromkeys(missing, "This input is required.")
    for problem in problems:
        if problem.code != "required":
            name = problem.path.lstrip("/").replace("~1", "/").replace("~0", "~")
            faults.setdefault(name, problem.message)
    return faults


def _typed(value: str, kind: str) -> Any:
    """Return a value of the type, or the text itself if it is none: the check then names it.

    A number is always a float and an integer an int: for expressions they are different types.
    """
    if kind not in ("number", "integer", "boolean"):
        return value
    try:
        read: Any = parse_json(value.strip().encode("utf-8", "surrogatepass"))
    except BadDocument:
        return value
    if kind == "boolean":
        return read if isinstance(read, bool) else value
    is_number = isinstance(read, int | float) and not isinstance(read, bool)
    is_number = is_number and abs(read) < _MAX_NUMBER
    if is_number and kind == "number":
        return float(read)
    return int(read) if is_number and read == int(read) else value


def _faults(schema: Any) -> Iterator[str]:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        yield 'The schema must be an object with "type": "object" and "properties".'
        return
    if unknown := sorted(set(schema) - _KEYS):
        yield f"{echo(unknown[0])} cannot be used here; allowed: {', '.join(sorted(_KEYS))}."
    properties = schema.get("properties", {})
    if not isinstance(properties, dict) or len(properties) > MAX_INPUTS:
        yield f"`properties` must be an object of at most {MAX_INPUTS} inputs."
        return
    for name, each in properties.items():
        yield from _property_faults(name, each)
    required = schema.get("required", [])
    for name in required if isinstance(required, list) else []:
        if not isinstance(name, str) or name not in properties:
            yield f"`required` names {echo(str(name))}, which is not one of the properties."


def _property_faults(name: str, schema: Any) -> Iterator[str]:
    if not name or len(name) > 80 or "\0" in name:
        yield f"The name {echo(name)} must have 1 to 80 characters."
    if not isinstance(schema, dict) or schema.get("type") not in TYPES:
        yield f"The input {echo(name)} must have a `type`: {', '.join(TYPES)}."
    elif unknown := sorted(set(schema) - _PROPERTY_KEYS):
        allowed = ", ".join(sorted(_PROPERTY_KEYS))
        yield f"The input {echo(name)}: {echo(unknown[0])} cannot be used here; allowed: {allowed}."
    elif "enum" in schema and not _is_plain_enum(schema["enum"]):
        yield f"The input {echo(name)}: `enum` must be a list of 1 to 200 texts or numbers."


def _is_plain_enum(values: Any) -> bool:
    return (
        isinstance(values, list)
        and 0 < len(values) <= 200
        and all(isinstance(each, str | int | float) for each in values)
    )
