"""Words of JSON Schema's findings."""

from typing import Any

import jsonschema_rs
import pytest

from validibot.engines import json_schema
from validibot.engines.json_documents import read_schemas
from validibot.engines.json_reasons import describe, from_compiled, from_listed


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, "it's"),
        ({"type": ["integer", "null"]}, True),
        ({"enum": ["a", 1, None, True]}, "b"),
        ({"const": {"a": None}}, [1, False]),
        ({"exclusiveMinimum": 3}, 3),
        ({"minLength": 3}, "é"),
        ({"pattern": "^x"}, 'a"b'),
        ({"format": "date"}, "a"),
        ({"maxItems": 1}, [True, None]),
        ({"uniqueItems": True}, [None, None]),
        ({"required": ["a", "b"]}, {"a": 1}),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}),
        ({"minProperties": 2}, {"a": True}),
        ({"additionalProperties": False, "properties": {"a": True}}, {"a": 1, "b": None}),
        ({"contains": {"const": 5}}, [True]),
        ({"not": {"type": "string"}}, "a"),
        ({"oneOf": [{"type": "string"}, {"minLength": 0}]}, "a"),
        (False, None),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3}, 1),
        (
            {
                "$schema": "http://json-schema.org/draft-04/schema#",
                "minimum": 3,
                "exclusiveMinimum": True,
            },
            3,
        ),
        (
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "items": [True],
                "additionalItems": False,
            },
            [1, None, {"a": True}],
        ),
    ],
)
def test_large_document_gets_messages_of_small_one(schema: Any, value: Any) -> None:
    """Both quote JSON, though a large document is listed by another library."""
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    small = from_compiled(next(iter(validator.iter_errors(value))))
    lister = json_schema._lister(read_schemas({"schema": schema}), True)

    large = from_listed(next(lister.iter_errors(value)))

    assert describe(large) == describe(small)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("email", '"a" is not an email address'),
        ("date-time", '"a" is not a date with time and zone such as 2026-01-31T12:00:00Z'),
        ("ipv4", '"a" is not an IPv4 address'),
    ],
)
def test_value_of_wrong_format_is_told_in_words(name: str, message: str) -> None:
    validator = jsonschema_rs.validator_for({"format": name}, validate_formats=True)
    assert describe(from_compiled(next(iter(validator.iter_errors("a"))))) == message
