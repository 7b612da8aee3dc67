"""The Telemetry API as the server wires it: OTLP's `Export` by gRPC and `POST /v1/…` for three signals.

Spans are kept here; metrics become time series of Cloud Monitoring, log records entries of Cloud
Logging. By HTTP a request is a protocol buffer, or JSON whose ids are hexadecimal; the answer and every
error (a google.rpc.Status) come in the encoding of the request. The attribute `gcp.project_id` of each
resource names the project, without which Google refuses the whole request. Invalid items are left
out and counted in the answer.

See https://docs.cloud.google.com/stackdriver/docs/reference/telemetry/overview and
https://opentelemetry.io/docs/specs/otlp/#otlphttp.
"""

import base64
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeAlias

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devenv.gcp.caller import ApiCall, ApiCaller, Authenticator, Guard
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import CloudError, InvalidArgument, refuse_on_full_disk, wrong_project
from devenv.gcp.otlp import attribute
from devenv.gcp.rpc import HttpMount, Rpc
from devenv.gcp.rpc.calls import method_id, status
from devenv.gcp.rpc.rest import parse_object, read_body
from devenv.gcp.service import CloudService
from devenv.gcp.store import Store
from devenv.gcp.telemetry.span_store import SpanStore
from devenv.gcp.telemetry.spans import SpanRecord, spans_of
from devenv.gcp.telemetry.trace_api import CloudTraceApi

_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_LARGEST = 10 << 20
_DEEPEST = 100
_LONGEST_ID = 18  # digits of a position in the store
_IDS = ("traceId", "spanId", "parentSpanId")

Keep: TypeAlias = Callable[[Sequence[Any]], list[str]]
"""Keeps what is valid of the resources of a request, and returns what is wrong with the rest."""


@dataclass(frozen=True, slots=True)
class _Signal:
    """One of OTLP's signals. `resources` and `rejected` are fields of its request and its answer."""

    name: str
    service: str
    request: type[Message]
    response: type[Message]
    resources: str
    rejected: str

    @property
    def method(self) -> str:
        return f"opentelemetry.proto.collector.{self.service}/Export"


_SIGNALS = (
    _Signal(
        *("traces", "trace.v1.TraceService"),
        *(trace_pb2.ExportTraceServiceRequest, trace_pb2.ExportTraceServiceResponse),
        *("resource_spans", "rejected_spans"),
    ),
    _Signal(
        *("metrics", "metrics.v1.MetricsService"),
        *(metrics_pb2.ExportMetricsServiceRequest, metrics_pb2.ExportMetricsServiceResponse),
        *("resource_metrics", "rejected_data_points"),
    ),
    _Signal(
        *("logs", "logs.v1.LogsService"),
        *(logs_pb2.ExportLogsServiceRequest, logs_pb2.ExportLogsServiceResponse),
        *("resource_logs", "rejected_log_records"),
    ),
)


class TelemetryService(CloudService):
    """Spans, metrics and log records that programs of one project export.

    `keeping` has what keeps the signals `metrics` and `logs`.
    """

    def __init__(
        self,
        *,
        config: CloudConfig,
        store: Store,
        clock: Clock,
        guard: Guard,
        authenticator: Authenticator,
        keeping: Mapping[str, Keep],
    ) -> None:
        self._config = config
        self._guard = guard
        self._authenticator = authenticator
        self._spans = SpanStore(store, clock)
        self._keeping = keeping

    def rpcs(self) -> Iterator[Rpc]:
        for signal in _SIGNALS:
            handle = partial(self._export, signal)
            yield Rpc(signal.method, signal.request, signal.response, handle)
        yield from CloudTraceApi(self._config, self._spans, self._guard).rpcs()

    def mounts(self) -> tuple[HttpMount, ...]:
        """Return the app under its paths; other methods of the host are not emulated."""
        names = {f"/v1/{each.name}": method_id(each.method) for each in _SIGNALS}
        routes = [
            Route(f"/v1/{each.name}", self._http(each), methods=["POST"]) for each in _SIGNALS
        ]
        return (
            HttpMount(
                ("telemetry.googleapis.com",),
                Starlette(routes=routes),
                tuple(names),
                lambda _verb, path: names.get(path, path),
                tuple(names.values()),
            ),
        )

    def spans(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the spans of the trace that `query` names, else a page of the latest traces."""
        if trace := query.get("trace"):
            return {"spans": [asdict(span) for span in self._spans.of(trace)]}
        before = query.get("before", "")
        is_id = before.isdecimal() and len(before) <= _LONGEST_ID
        return {"traces": self._spans.traces(before=int(before) if is_id else 0)}

    async def _export(self, signal: _Signal, request: Any, call: ApiCall) -> Any:
        """Keep what is valid of a request, and tell how much was not. Raises CloudError."""
        project = f"projects/{self._config.project}"
        self._guard.require(call.caller, f"telemetry.{signal.name}.write", project)
        resources = getattr(request, signal.resources)
        for resource in resources:
            self._check_project(attribute(resource, "gcp.project_id"))
        keep = self._keeping.get(signal.name) or partial(self._keep_spans, call.caller)
        problems = keep(resources)
        answer: Any = signal.response()
        if problems:
            setattr(answer.partial_success, signal.rejected, len(problems))
            answer.partial_success.error_message = problems[0]
        return answer

    def _keep_spans(self, caller: ApiCaller, resources: Sequence[Any]) -> list[str]:
        records: list[SpanRecord] = []
        problems: list[str] = []
        for resource in resources:
            some, wrong = spans_of(resource, caller.email)
            records += some
            problems += wrong
        self._spans.add(records)
        return problems

    def _http(self, signal: _Signal) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            try:
                caller = self._authenticator.caller(dict(request.headers))
                body = await read_body(request, limit=_LARGEST)
                message = _parsed(signal.request(), kind, body)
                with refuse_on_full_disk(request.url.path):
                    return _answer(kind, await self._export(signal, message, ApiCall(caller)))
            except CloudError as error:
                return _answer(kind, status(error), error.http)

        return answer

    def _check_project(self, project: str) -> None:
        if not project:
            raise InvalidArgument(
                'Resource is missing required attribute "gcp.project_id". Set it, for example by '
                f"OTEL_RESOURCE_ATTRIBUTES=gcp.project_id={self._config.project}."
            )
        if project not in (self._config.project, self._config.number):
            raise wrong_project(project[:100], "telemetry.googleapis.com")


def _parsed(message: Message, kind: str, body: bytes) -> Message:
    """Return the empty `message` filled from a body of this content type. Raises InvalidArgument."""
    if kind == _PROTOBUF:
        try:
            message.ParseFromString(body)
        except DecodeError as error:
            raise InvalidArgument("The request is not a valid protocol buffer.") from error
        return message
    if kind != _JSON:
        raise InvalidArgument(f"Content-Type is {kind[:100]!r}; it must be {_PROTOBUF} or {_JSON}.")
    try:
        json_format.ParseDict(
            _with_base64_ids(parse_object(body)),
            message,
            ignore_unknown_fields=True,  # as OTLP demands
            max_recursion_depth=_DEEPEST,
        )
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"Invalid JSON payload received. {error}"[:500]) from error
    return message


def _with_base64_ids(value: Any) -> Any:
    """Return the JSON of OTLP, whose ids are hexadecimal, as protocol buffers write it.

    Raises ValueError for an id that is not hexadecimal.
    """
    if isinstance(value, list):
        return [_with_base64_ids(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(bytes.fromhex(each)).decode()
        if key in _IDS and isinstance(each, str)
        else _with_base64_ids(each)
        for key, each in value.items()
    }


def _answer(kind: str, message: Message, code: int = 200) -> Response:
    if kind == _PROTOBUF:
        return Response(message.SerializeToString(), code, media_type=_PROTOBUF)
    return Response(json.dumps(json_format.MessageToDict(message)), code, media_type=_JSON)
