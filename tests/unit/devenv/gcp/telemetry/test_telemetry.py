"""The Telemetry API over HTTP and in its store, with OpenTelemetry's exporter as the client."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from devenv.gcp.clock import ManualClock, SystemClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.telemetry.service import TelemetryService
from devenv.gcp.telemetry.span_store import RETENTION, SpanStore
from devenv.gcp.telemetry.spans import SpanRecord
from tests.unit.devenv.gcp.fakes import Everybody, FakeGuard, MemoryStore
from tests.unit.devenv.gcp.web import Web

URL = "https://telemetry.googleapis.com/v1/traces"
PROTOBUF = {"content-type": "application/x-protobuf"}
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
NOW = SystemClock().now()
LONG = AnyValue(string_value="x" * (64 << 10) + "x")


class Telemetry:
    """The service, and a client of its path."""

    def __init__(self) -> None:
        self.guard = FakeGuard()
        self.service = TelemetryService(
            config=CloudConfig(project="p", number="123"),
            store=MemoryStore(),
            clock=SystemClock(),
            guard=self.guard,
            authenticator=Everybody(),
            keeping={},
        )
        [mount] = self.service.mounts()
        self.web = Web(mount.app)

    def post(self, content: bytes, **headers: str) -> Any:
        return self.web.post("/v1/traces", content=content, headers=PROTOBUF | headers)

    def spans(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.service.spans({"trace": TRACE})["spans"]
        return found


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
def provider(telemetry: Telemetry) -> Iterator[TracerProvider]:
    """Return a provider whose exporter reaches the application without a socket."""

    def answer(sent: requests.PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        assert isinstance(sent.body, bytes)
        found = telemetry.post(sent.body, **{k.lower(): v for k, v in sent.headers.items()})
        return found.status_code, {}, found.content

    resource = Resource({"gcp.project_id": "p", "service.name": "shop"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(URL)))
    with responses.RequestsMock() as mocked:
        mocked.add_callback("POST", URL, answer)
        yield provider
        provider.shutdown()


def request(**fields: Any) -> ExportTraceServiceRequest:
    """Return a request with one span."""
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    resource.resource.attributes.add(key="gcp.project_id").value.string_value = "p"
    span = {
        "trace_id": bytes.fromhex(TRACE),
        "span_id": bytes.fromhex(SPAN),
        "name": "checkout",
        "start_time_unix_nano": int(NOW * 1e9),
        "end_time_unix_nano": int(NOW * 1e9) + 500_000_000,
    }
    resource.scope_spans.add().spans.add(**span | fields)
    return message


def test_exporter_of_opentelemetry_sends_nested_spans(
    telemetry: Telemetry, provider: TracerProvider
) -> None:
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("checkout", attributes={"items": 3}) as outer:
        outer.add_event("paid")
        with tracer.start_as_current_span("charge"):
            pass
    trace = f"{outer.get_span_context().trace_id:032x}"

    first, second = telemetry.service.spans({"trace": trace})["spans"]
    assert (first["name"], first["service"], first["parent"]) == ("checkout", "shop", "")
    assert (second["name"], second["parent"]) == ("charge", first["span"])
    assert first["attributes"] == {"items": "3"}
    assert [name for _, name in first["events"]] == ["paid"]
    [listed] = telemetry.service.spans({})["traces"]
    assert (listed["trace"], listed["name"], listed["spans"]) == (trace, "checkout", 2)


def test_json_request_has_hexadecimal_ids(telemetry: Telemetry) -> None:
    body = {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": [{"key": "gcp.project_id", "value": {"stringValue": "123"}}]
                },
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": TRACE,
                                "spanId": SPAN,
                                "name": "a",
                                "startTimeUnixNano": str(int(NOW * 1e9)),
                                "endTimeUnixNano": str(int(NOW * 1e9)),
                                "status": {"code": 2, "message": "sold out"},
                                "unknown": 1,
                            }
                        ]
                    }
                ],
            }
        ]
    }
    answer = telemetry.web.post("/v1/traces", json=body)

    assert (answer.status_code, answer.json()) == (200, {})
    [span] = telemetry.spans()
    assert (span["status"], span["message"]) == ("error", "sold out")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"trace_id": b""}, "trace_id"),
        ({"trace_id": bytes(16)}, "trace_id"),
        ({"span_id": b"1"}, "span_id"),
        ({"name": ""}, "name"),
        ({"end_time_unix_nano": 1}, "end time"),
        ({"start_time_unix_nano": 0}, "start time"),
        ({"name": "x" * 1025}, "more than 1024 bytes"),
        ({"links": [Span.Link()] * 129}, "129 links; at most 128"),
        ({"events": [Span.Event()] * 257}, "257 events; at most 256"),
        ({"events": [Span.Event(name="x" * 1025)]}, "name of an event"),
        ({"attributes": [KeyValue(key="k" * 513)]}, "more than 512 bytes"),
        ({"attributes": [KeyValue(key="k")] * 1025}, "1025 attributes; at most 1024"),
        ({"attributes": [KeyValue(key="k", value=LONG)]}, "more than 64 KiB"),
        ({"links": [Span.Link(attributes=[KeyValue(key="k")] * 1000)] * 9}, "at most 8192"),
    ],
)
def test_invalid_span_is_rejected_and_counted(
    telemetry: Telemetry, fields: dict[str, Any], problem: str
) -> None:
    sent = request()
    sent.resource_spans.append(request(**fields).resource_spans[0])
    answer = telemetry.post(sent.SerializeToString())

    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_spans) == (200, 1)
    assert problem in partial.error_message
    assert len(telemetry.spans()) == 1


def test_request_without_project_is_refused_as_a_whole(telemetry: Telemetry) -> None:
    sent = request()
    sent.resource_spans.append(request().resource_spans[0])
    del sent.resource_spans[1].resource.attributes[:]
    answer = telemetry.post(sent.SerializeToString())

    refusal = Status.FromString(answer.content)
    assert (answer.status_code, refusal.code) == (400, 3)
    assert 'missing required attribute "gcp.project_id"' in refusal.message
    assert telemetry.spans() == []


def test_other_project_and_missing_permission_are_refused(telemetry: Telemetry) -> None:
    sent = request()
    sent.resource_spans[0].resource.attributes[0].value.string_value = "other"
    assert telemetry.post(sent.SerializeToString()).status_code == 403

    telemetry.guard.denied.add("telemetry.traces.write")
    assert telemetry.post(request().SerializeToString()).status_code == 403
    assert telemetry.guard.asked[-1] == ("telemetry.traces.write", "projects/p")
    assert telemetry.spans() == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\xff\xff", "application/x-protobuf"),
        (b"[", "application/json"),
        (b'{"resourceSpans": 1}', "application/json"),
        (b'{"traceId": "xyz"}', "application/json"),
        (b"{}", "text/plain"),
        (b"{}", ""),
    ],
)
def test_malformed_request_returns_400(telemetry: Telemetry, content: bytes, kind: str) -> None:
    answer = telemetry.post(content, **{"content-type": kind})

    assert answer.status_code == 400
    assert answer.content


@pytest.mark.parametrize("before", ["", "soon", "9" * 30, "9" * 5000])
def test_page_before_no_position_is_the_first(telemetry: Telemetry, before: str) -> None:
    telemetry.post(request().SerializeToString())

    assert len(telemetry.service.spans({"before": before})["traces"]) == 1


def test_large_span_is_cut_to_its_first_attributes(telemetry: Telemetry) -> None:
    sent = request()
    [span] = sent.resource_spans[0].scope_spans[0].spans
    for number in range(100):
        span.attributes.add(key=f"key-{number:03}").value.string_value = "x" * 5000
    value = span.attributes[0].value
    for _ in range(10):  # levels
        value = value.array_value.values.add()
    value.int_value = 1
    telemetry.post(sent.SerializeToString())

    [kept] = telemetry.spans()
    assert list(kept["attributes"]) == [f"key-{number:03}" for number in range(64)]
    assert kept["attributes"]["key-000"] == '[[[[""]]]]'
    assert len(kept["attributes"]["key-063"]) == 1000


def test_repeated_export_keeps_one_span(telemetry: Telemetry) -> None:
    telemetry.post(request().SerializeToString())
    telemetry.post(request(name="again").SerializeToString())

    assert [span["name"] for span in telemetry.spans()] == ["again"]


def record(number: int, *, at: float = NOW) -> SpanRecord:
    return SpanRecord(f"{number:032x}", SPAN, "", f"span-{number}", "", at, at)


def test_span_store_keeps_the_newest_within_its_limits() -> None:
    spans = SpanStore(MemoryStore(), ManualClock(NOW), most_spans=3)
    spans.add([record(1, at=NOW - RETENTION - 1)])
    spans.add([record(number) for number in (2, 3, 4, 5)])

    latest = spans.traces()
    assert [one["name"] for one in latest] == ["span-5", "span-4", "span-3"]
    assert [one["name"] for one in spans.traces(before=latest[1]["id"])] == ["span-3"]
