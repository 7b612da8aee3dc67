"""The Cloud Trace API: reading traces by v1, and writing spans by v1 and v2.

Traces are those that programs export, whichever API they use. A list has the traces with the latest
spans first. See https://cloud.google.com/trace/docs/reference/v1/rest/v1/projects.traces and
https://cloud.google.com/trace/docs/reference/v2/rest/v2/projects.traces/batchWrite.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument, NotFound, Unimplemented, wrong_project
from devenv.gcp.messages import moment, set_moment
from devenv.gcp.otlp import LONGEST_TEXT, MOST_ATTRIBUTES
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.telemetry.span_store import SpanStore
from devenv.gcp.telemetry.spans import SpanRecord

trace_v1 = client_types("google.cloud.trace_v1")
trace_v2 = client_types("google.cloud.trace_v2")

Traces: Any = trace_v1.Traces.pb()
Trace: Any = trace_v1.Trace.pb()
Span: Any = trace_v2.Span.pb()
Listed: Any = trace_v1.ListTracesResponse.pb()
_Matches: TypeAlias = Callable[[list[SpanRecord]], bool]
_V1, _V2 = (f"google.devtools.cloudtrace.{version}.TraceService" for version in ("v1", "v2"))
_MINIMAL, _ROOTSPAN, _COMPLETE = 1, 2, 3
_KINDS = {"server": 1, "client": 2}
_KINDS_V2 = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_PAGE, _MOST_PAGE, _MOST_SPANS = 100, 1000, 25_000
_MOST_EXAMINED = 1000  # traces that one call looks at; its page may then be short, or empty
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_SPAN_NAME = re.compile(r"projects/([^/]+)/traces/([0-9a-f]{32})/spans/([0-9a-f]{16})")
_TERM = re.compile(r'(\+?)([\w./-]+):(?:"([^"]*)"|(\S+))')
_LATENCY = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")


class CloudTraceApi:
    """The methods of Cloud Trace for the spans of one project."""

    def __init__(self, config: CloudConfig, spans: SpanStore, guard: Guard) -> None:
        self._config = config
        self._spans = spans
        self._guard = guard

    def rpcs(self) -> Iterator[Rpc]:
        many = "/v1/projects/{project_id=*}/traces"
        for service, name, request, response, handle, rule in (
            (_V1, "ListTraces", trace_v1.ListTracesRequest, Listed, self.list, ("GET", many)),
            (
                *(_V1, "GetTrace", trace_v1.GetTraceRequest, Trace, self.get),
                ("GET", f"{many}/{{trace_id=*}}"),
            ),
            (
                *(_V1, "PatchTraces", trace_v1.PatchTracesRequest, empty_pb2.Empty, self.patch),
                ("PATCH", many, "traces"),
            ),
            (
                *(_V2, "BatchWriteSpans", trace_v2.BatchWriteSpansRequest, empty_pb2.Empty),
                self.write,
                ("POST", "/v2/{name=projects/*}/traces:batchWrite", "*"),
            ),
            (
                *(_V2, "CreateSpan", trace_v2.Span, Span, self.create),
                ("POST", "/v2/{name=projects/*/traces/*/spans/*}", "*"),
            ),
        ):
            yield Rpc(f"{service}/{name}", request.pb(), response, handle, (HttpRule(*rule),))

    async def list(self, request: Any, call: ApiCall) -> Any:
        self._allow(request.project_id, call, "list")
        if request.order_by not in ("", "start desc"):
            raise Unimplemented(f"order_by {request.order_by[:100]!r} is not emulated.")
        if not 0 <= request.page_size <= _MOST_PAGE:
            raise InvalidArgument(f"page_size must be between 0 and {_MOST_PAGE}.")
        if not (request.page_token or "0").isdecimal() or len(request.page_token) > 18:
            raise InvalidArgument("page_token is not valid; use the next_page_token of a page.")
        matches, answer = _filter(request.filter), Listed()
        before = int(request.page_token or 0)
        for examined, row in enumerate(self._rows(before)):
            if examined == _MOST_EXAMINED or len(answer.traces) == (request.page_size or _PAGE):
                answer.next_page_token = str(before)
                break
            before = row["id"]
            if not _is_within(row, request):
                continue
            await asyncio.sleep(0)  # other calls have their turn
            spans = self._spans.of(row["trace"])
            if matches(spans):
                answer.traces.append(self._trace(row["trace"], spans, request.view or _MINIMAL))
        return answer

    async def get(self, request: Any, call: ApiCall) -> Any:
        self._allow(request.project_id, call, "get")
        spans = self._spans.of(request.trace_id.lower())
        if not spans:
            raise NotFound(f"Trace {request.trace_id[:100]} does not exist.")
        return self._trace(request.trace_id.lower(), spans, _COMPLETE)

    async def patch(self, request: Any, call: ApiCall) -> Any:
        """Keep the spans of traces, all or none. Raises CloudError."""
        self._allow(request.project_id, call, "patch")
        records = []
        for trace in request.traces.traces:
            self._check_project(trace.project_id or request.project_id)
            records += [_from_v1(trace.trace_id, span, call) for span in trace.spans]
        self._keep(records)
        return empty_pb2.Empty()

    async def write(self, request: Any, call: ApiCall) -> Any:
        """Keep spans of v2, all or none. Raises CloudError."""
        self._allow(request.name.removeprefix("projects/"), call, "patch")
        self._keep([self._given(span, call) for span in request.spans])
        return empty_pb2.Empty()

    async def create(self, span: Any, call: ApiCall) -> Any:
        """Keep one span of v2, and return it. Raises CloudError."""
        self._allow(span.name.removeprefix("projects/").partition("/")[0], call, "patch")
        self._keep([self._given(span, call)])
        return span

    def _given(self, span: Any, call: ApiCall) -> SpanRecord:
        found = _SPAN_NAME.fullmatch(span.name)
        if not found:
            raise InvalidArgument(
                f"span.name is {span.name[:200]!r}; it must be "
                "projects/PROJECT/traces/TRACE_ID/spans/SPAN_ID with hexadecimal ids."
            )
        self._check_project(found[1])
        return _from_v2(found[2], found[3], span, call)

    def _keep(self, records: Sequence[SpanRecord]) -> None:
        if len(records) > _MOST_SPANS:
            raise InvalidArgument(f"A request has at most {_MOST_SPANS} spans.")
        self._spans.add(records)

    def _rows(self, before: int) -> Iterator[dict[str, Any]]:
        while rows := self._spans.traces(before=before):
            yield from rows
            before = rows[-1]["id"]

    def _trace(self, trace_id: str, spans: Iterable[SpanRecord], view: int) -> Any:
        trace = Trace(project_id=self._config.project, trace_id=trace_id)
        for span in spans:
            if view == _COMPLETE or (view == _ROOTSPAN and not span.parent):
                made = trace.spans.add(
                    span_id=int(span.span, 16),
                    parent_span_id=int(span.parent or "0", 16),
                    name=span.name,
                    kind=_KINDS.get(span.kind, 0),
                    labels=span.attributes
                    | ({"service.name": span.service} if span.service else {}),
                )
                set_moment(made.start_time, span.at)
                set_moment(made.end_time, span.ended)
        return trace

    def _allow(self, project: str, call: ApiCall, verb: str) -> None:
        self._check_project(project)
        resource = f"projects/{self._config.project}"
        self._guard.require(call.caller, f"cloudtrace.traces.{verb}", resource)

    def _check_project(self, project: str) -> None:
        if project not in (self._config.project, self._config.number):
            raise wrong_project(project[:100], "cloudtrace.googleapis.com")


def _from_v1(trace: str, span: Any, call: ApiCall) -> SpanRecord:
    if not _TRACE_ID.fullmatch(trace) or not span.span_id:
        raise InvalidArgument(
            f"A span of trace {trace[:100]!r} needs a trace_id of 32 hexadecimal digits and a "
            "span_id that is not 0."
        )
    kinds = {number: name for name, number in _KINDS.items()}
    return _record(
        span,
        call,
        trace=trace,
        span=f"{span.span_id:016x}",
        parent=f"{span.parent_span_id:016x}" if span.parent_span_id else "",
        name=span.name,
        kind=kinds.get(span.kind, ""),
        attributes=dict(span.labels),
    )


def _from_v2(trace: str, span_id: str, span: Any, call: ApiCall) -> SpanRecord:
    values = {}
    for key, value in span.attributes.attribute_map.items():
        kind = value.WhichOneof("value")
        found: Any = getattr(value, kind) if kind else ""
        values[key] = found.value if kind == "string_value" else str(found).lower()
    return _record(
        span,
        call,
        trace=trace,
        span=span_id,
        parent=span.parent_span_id,
        name=span.display_name.value,
        kind=_KINDS_V2.get(span.span_kind, ""),
        status="error" if span.status.code else "",
        message=span.status.message[:LONGEST_TEXT],
        attributes=values,
        events=tuple(
            (moment(each.time), each.annotation.description.value[:LONGEST_TEXT])
            for each in span.time_events.time_event[:MOST_ATTRIBUTES]
        ),
    )


def _record(given: Any, call: ApiCall, *, name: str, attributes: Any, **fields: Any) -> SpanRecord:
    """Return a record with the times of a span, and its texts cut. Raises InvalidArgument."""
    begun, ended = moment(given.start_time), moment(given.end_time)
    if not name or not 0 < begun <= ended:
        raise InvalidArgument(
            f"Span {name[:100]!r} must have a name, a start time, and an end time not before it."
        )
    kept = list(attributes.items())[:MOST_ATTRIBUTES]
    service = attributes.get("service.name", attributes.get("g.co/r/generic_task/job", ""))
    return SpanRecord(
        name=name[:LONGEST_TEXT],
        service=service,
        at=begun,
        ended=ended,
        caller=call.caller.email,
        attributes={key[:LONGEST_TEXT]: value[:LONGEST_TEXT] for key, value in kept},
        **fields,
    )


def _is_within(row: dict[str, Any], request: Any) -> bool:
    """Return whether a trace lies in the interval of a request."""
    if request.HasField("start_time") and row["ended"] < moment(request.start_time):
        return False
    return not (request.HasField("end_time") and row["at"] > moment(request.end_time))


def _filter(text: str) -> _Matches:
    """Return the test of a filter: root, span, latency and labels, of which all must hold."""
    terms = list(_TERM.finditer(text))
    if _TERM.sub("", text).strip():
        raise InvalidArgument(
            f"filter {text[:100]!r} is not valid; its terms are root:NAME, span:NAME, latency:500ms "
            "and LABEL:VALUE, exact with a + before them."
        )
    tests = [
        _term(key, quoted or bare or "", exact=bool(plus))
        for plus, key, quoted, bare in (term.groups() for term in terms)
    ]
    return lambda spans: all(test(spans) for test in tests)


def _term(key: str, wanted: str, *, exact: bool) -> _Matches:
    def fits(text: str) -> bool:
        return text == wanted if exact else text.startswith(wanted)

    if key == "latency":
        found = _LATENCY.fullmatch(wanted)
        if not found:
            raise InvalidArgument(f"latency is {wanted[:40]!r}; it looks like 500ms or 2s.")
        least = float(found[1]) / (1000 if found[2] == "ms" else 1)
        return lambda spans: max(s.ended for s in spans) - min(s.at for s in spans) >= least
    if key == "root":
        return lambda spans: any(fits(span.name) for span in spans if not span.parent)
    if key == "span":
        return lambda spans: any(fits(span.name) for span in spans)
    return lambda spans: any(fits(span.attributes[key]) for span in spans if key in span.attributes)
