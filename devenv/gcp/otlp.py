"""Values of OpenTelemetry's protocol, which spans, metrics and log records share.

See https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/common/v1/common.proto.
"""

import json
from collections.abc import Iterable
from itertools import islice
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

LONGEST_TEXT = 1000  # characters of a text that is shown
MOST_ATTRIBUTES = 64  # of a span, a list or a map that is shown
_DEEPEST = 4  # levels of a value that is a list or a map


def attribute(resource: Any, name: str) -> str:
    """Return an attribute of `resource.resource` as text, empty if it has none of this name."""
    found = (each.value for each in resource.resource.attributes if each.key == name)
    return next((text_of(value) for value in found), "")


def attributes_of(pairs: Iterable[KeyValue]) -> dict[str, str]:
    """Return all attributes as whole texts."""
    return {pair.key: text_of(pair.value, longest=None) for pair in pairs}


def short_attributes(pairs: Iterable[KeyValue]) -> dict[str, str]:
    """Return the first attributes, and the beginning of each text."""
    kept = islice(pairs, MOST_ATTRIBUTES)
    return {pair.key[:LONGEST_TEXT]: text_of(pair.value) for pair in kept}


def text_of(value: AnyValue, *, longest: int | None = LONGEST_TEXT) -> str:
    """Return a value as text, a list or a map as JSON; the whole of it if `longest` is None."""
    found = plain(value, most=MOST_ATTRIBUTES if longest else None)
    return (found if isinstance(found, str) else json.dumps(found))[:longest]


def plain(value: AnyValue, *, most: int | None = MOST_ATTRIBUTES, depth: int = 0) -> Any:
    """Return the Python value of an AnyValue, bytes in hexadecimal.

    Lists and maps have `most` items, and nothing that lies too deep, unless `most` is None.
    """
    is_near = depth < _DEEPEST or most is None
    match value.WhichOneof("value"):
        case "array_value" if is_near:
            values = value.array_value.values[:most]
            return [plain(each, most=most, depth=depth + 1) for each in values]
        case "kvlist_value" if is_near:
            pairs = value.kvlist_value.values[:most]
            return {each.key: plain(each.value, most=most, depth=depth + 1) for each in pairs}
        case "bytes_value":
            return value.bytes_value[: LONGEST_TEXT if most else None].hex()
        case "string_value" | "bool_value" | "int_value" | "double_value" as kind:
            return getattr(value, kind)
    return ""
