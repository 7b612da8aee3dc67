"""Limits of the Telemetry API on spans: https://cloud.google.com/stackdriver/quotas#telemetry-api-limits.

Sizes are in bytes.
"""

from collections.abc import Iterator, Sequence

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

_LONGEST_KEY, _LONGEST_VALUE, _LONGEST_NAME = 512, 64 << 10, 1024
_MOST_ATTRIBUTES, _MOST_TOGETHER = 1024, 8192
_MOST_EVENTS, _MOST_LINKS = 256, 128
_LONGEST_SCHEMA_URL = 8192


def resource_problem(resource: ResourceSpans) -> str:
    """Return which limit the spans of a resource exceed together, empty if they exceed none."""
    schemas = (resource.schema_url, *(scope.schema_url for scope in resource.scope_spans))
    if any(len(each.encode()) > _LONGEST_SCHEMA_URL for each in schemas):
        return f"A schema URL has more than {_LONGEST_SCHEMA_URL} bytes."
    if problem := _attributes_problem("The resource", resource.resource.attributes):
        return problem
    count = len(resource.resource.attributes)
    for scope in resource.scope_spans:
        count += len(scope.scope.attributes)
        count += sum(len(each) for span in scope.spans for each in _attributes(span))
    if count > _MOST_TOGETHER:
        return f"The resource and its spans have {count} attributes; at most {_MOST_TOGETHER}."
    return ""


def span_problem(span: Span) -> str:
    """Return which limit a span exceeds, empty if it exceeds none."""
    where = f"Span {span.name[:100]!r}"
    if len(span.name.encode()) > _LONGEST_NAME:
        return f"{where}: its name has more than {_LONGEST_NAME} bytes."
    for kind, count, most in (
        ("events", len(span.events), _MOST_EVENTS),
        ("links", len(span.links), _MOST_LINKS),
    ):
        if count > most:
            return f"{where} has {count} {kind}; at most {most}."
    if any(len(event.name.encode()) > _LONGEST_NAME for event in span.events):
        return f"{where}: the name of an event has more than {_LONGEST_NAME} bytes."
    problems = (_attributes_problem(where, each) for each in _attributes(span))
    return next(filter(None, problems), "")


def _attributes(span: Span) -> Iterator[Sequence[KeyValue]]:
    yield span.attributes
    yield from (event.attributes for event in span.events)
    yield from (link.attributes for link in span.links)


def _attributes_problem(where: str, attributes: Sequence[KeyValue]) -> str:
    if len(attributes) > _MOST_ATTRIBUTES:
        return f"{where} has {len(attributes)} attributes; at most {_MOST_ATTRIBUTES}."
    for each in attributes:
        if len(each.key.encode()) > _LONGEST_KEY:
            return f"{where}: the key of an attribute has more than {_LONGEST_KEY} bytes."
        text = each.value.string_value
        size = len(text.encode()) if text else each.value.ByteSize()
        if size > _LONGEST_VALUE:
            return f"{where}: the attribute {each.key[:100]!r} has more than 64 KiB."
    return ""
