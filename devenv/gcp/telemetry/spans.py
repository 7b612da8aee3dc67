"""Spans of an OTLP request, as they are kept and shown.

Of a span are kept its name, times, parent, kind, status, attributes and events, with the name of the
service that its resource has. Long texts are cut, and of many attributes and events the first are
kept: a trace is for reading.

See https://opentelemetry.io/docs/specs/otlp/ and
https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Self

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, Status

from devenv.gcp.otlp import LONGEST_TEXT, MOST_ATTRIBUTES, attribute, short_attributes
from devenv.gcp.telemetry.span_limits import resource_problem, span_problem

# Numbers that this version does not know may arrive, too.
_KINDS = {number: name.removeprefix("SPAN_KIND_").lower() for name, number in Span.SpanKind.items()}
_STATES = {Status.STATUS_CODE_OK: "ok", Status.STATUS_CODE_ERROR: "error"}


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A span that a program exported; moments are in Unix seconds, ids in hexadecimal.

    `status` is `ok`, `error` or empty; `events` are (moment, text). `caller` is the account that
    exported it.
    """

    trace: str
    span: str
    parent: str
    name: str
    service: str
    at: float
    ended: float
    kind: str = ""
    status: str = ""
    message: str = ""
    caller: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    events: tuple[tuple[float, str], ...] = ()

    def dump(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        values = json.loads(text)
        return cls(**values | {"events": tuple((at, name) for at, name in values["events"])})


def spans_of(resource: ResourceSpans, caller: str) -> tuple[list[SpanRecord], list[str]]:
    """Return the valid spans of a resource, and what is wrong with each of the others."""
    service, records, problems = attribute(resource, "service.name"), [], []
    of_all = resource_problem(resource)
    for scope in resource.scope_spans:
        for span in scope.spans:
            if problem := of_all or _problem(span):
                problems.append(problem)
            else:
                records.append(_record(span, service, caller))
    return records, problems


def _problem(span: Span) -> str:
    """Return what is wrong with a span, empty if nothing is."""
    name = span.name[:100]
    if len(span.trace_id) != 16 or not any(span.trace_id):
        return f"The trace_id of span {name!r} must be 16 bytes that are not all zero."
    if len(span.span_id) != 8 or not any(span.span_id):
        return f"The span_id of span {name!r} must be 8 bytes that are not all zero."
    if not span.name:
        return f"The name of span {span.span_id.hex()} is empty."
    if not 0 < span.start_time_unix_nano <= span.end_time_unix_nano:
        return f"Span {name!r} must have a start time, and an end time that is not before it."
    return span_problem(span)


def _record(span: Span, service: str, caller: str) -> SpanRecord:
    return SpanRecord(
        trace=span.trace_id.hex(),
        span=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name[:LONGEST_TEXT],
        service=service,
        at=span.start_time_unix_nano / 1e9,
        ended=span.end_time_unix_nano / 1e9,
        kind=_KINDS.get(span.kind, ""),
        status=_STATES.get(span.status.code, ""),
        message=span.status.message[:LONGEST_TEXT],
        caller=caller,
        attributes=short_attributes(span.attributes),
        events=tuple(
            (event.time_unix_nano / 1e9, event.name[:LONGEST_TEXT])
            for event in span.events[:MOST_ATTRIBUTES]
        ),
    )
