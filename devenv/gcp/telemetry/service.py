"""The Telemetry API as the server wires it: `TraceService/Export` by gRPC and `POST /v1/traces`.

By HTTP a request is a protocol buffer, or JSON whose ids are hexadecimal; the answer and every error
(a google.rpc.Status) come in the encoding of the request. The attribute `gcp.project_id` of each
resource names the project, without which Google refuses the whole request. Invalid spans are left
out and counted in the answer. Metrics and logs are not emulated.

See https://cloud.google.com/stackdriver/docs/reference/telemetry/v1.traces.post and
https://opentelemetry.io/docs/specs/otlp/#otlphttp.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from devenv.gcp.caller import ApiCall, Authenticator, Guard
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import CloudError, InvalidArgument, wrong_project
from devenv.gcp.iam.policy_methods import PolicyKind
from devenv.gcp.rpc import HttpMount, Rpc
from devenv.gcp.rpc.calls import method_id, status
from devenv.gcp.rpc.rest import parse_object, read_body
from devenv.gcp.store import Store
from devenv.gcp.telemetry.span_store import SpanStore
from devenv.gcp.telemetry.spans import SpanRecord, attribute, spans_of
from devenv.gcp.telemetry.trace_api import CloudTraceApi

PATH = "/v1/traces"
_GRPC = "opentelemetry.proto.collector.trace.v1.TraceService/Export"
_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
_LARGEST = 10 << 20
_DEEPEST = 100
_LONGEST_ID = 18  # digits of a position in the store
_IDS = ("traceId", "spanId", "parentSpanId")


class TelemetryService:
    """The spans that programs of one project export."""

    def __init__(
        self,
        *,
        config: CloudConfig,
        store: Store,
        clock: Clock,
        guard: Guard,
        authenticator: Authenticator,
    ) -> None:
        self._config = config
        self._clock = clock
        self._guard = guard
        self._authenticator = authenticator
        self._spans = SpanStore(store)

    def rpcs(self) -> Iterator[Rpc]:
        yield Rpc(_GRPC, ExportTraceServiceRequest, ExportTraceServiceResponse, self.export)
        yield from CloudTraceApi(self._config, self._spans, self._clock, self._guard).rpcs()

    def mounts(self) -> tuple[HttpMount, ...]:
        """Return the app under its path; other methods of the host are not emulated."""
        app = Starlette(routes=[Route(PATH, self.traces, methods=["POST"])])
        name = method_id(_GRPC)
        return (
            HttpMount(
                ("telemetry.googleapis.com",), app, (PATH,), lambda _verb, _path: name, (name,)
            ),
        )

    def policy_kinds(self) -> tuple[PolicyKind, ...]:
        return ()

    async def start(self) -> None:
        """Do nothing: everything is in the store."""

    async def stop(self) -> None:
        """Do nothing: everything is in the store."""

    def spans(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the spans of the trace that `query` names, else a page of the latest traces."""
        if trace := query.get("trace"):
            return {"spans": [asdict(span) for span in self._spans.of(trace)]}
        before = query.get("before", "")
        is_id = before.isdecimal() and len(before) <= _LONGEST_ID
        return {"traces": self._spans.traces(before=int(before) if is_id else 0)}

    async def export(self, request: Any, call: ApiCall) -> Any:
        """Keep the valid spans of a request, and tell how many were not. Raises CloudError."""
        self._guard.require(
            call.caller, "telemetry.traces.write", f"projects/{self._config.project}"
        )
        for resource in request.resource_spans:
            self._check_project(attribute(resource, "gcp.project_id"))
        records: list[SpanRecord] = []
        problems: list[str] = []
        for resource in request.resource_spans:
            some, wrong = spans_of(resource, call.caller.email)
            records += some
            problems += wrong
        self._spans.add(records, now=self._clock.machine())
        answer = ExportTraceServiceResponse()
        if problems:
            answer.partial_success.rejected_spans = len(problems)
            answer.partial_success.error_message = problems[0]
        return answer

    async def traces(self, request: Request) -> Response:
        """Answer `POST /v1/traces`."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            caller = self._authenticator.caller(dict(request.headers))
            message = _parsed(kind, await read_body(request, limit=_LARGEST))
            return _answer(kind, await self.export(message, ApiCall(caller)))
        except CloudError as error:
            return _answer(kind, status(error), error.http)

    def _check_project(self, project: str) -> None:
        if not project:
            raise InvalidArgument(
                'Resource is missing required attribute "gcp.project_id". Set it, for example by '
                f"OTEL_RESOURCE_ATTRIBUTES=gcp.project_id={self._config.project}."
            )
        if project not in (self._config.project, self._config.number):
            raise wrong_project(project[:100], "telemetry.googleapis.com")


def _parsed(kind: str, body: bytes) -> ExportTraceServiceRequest:
    """Return the request in a body of this content type. Raises InvalidArgument."""
    message = ExportTraceServiceRequest()
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
