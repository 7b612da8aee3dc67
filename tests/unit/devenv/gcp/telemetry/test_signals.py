"""Metrics and log records by OTLP: what becomes of them in Cloud Monitoring and Cloud Logging."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import responses
from google.logging.type.log_severity_pb2 import LogSeverity
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from devenv.gcp.clock import SystemClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.logging.entry_view import EntryView
from devenv.gcp.logging.filters import parse_filter
from devenv.gcp.logging.otlp import entries_of
from devenv.gcp.logging.service import LoggingService
from devenv.gcp.monitoring import series
from devenv.gcp.monitoring.series_store import RETENTION, SeriesStore, TimeSeries
from devenv.gcp.monitoring.service import MonitoringService
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from devenv.gcp.stack_clock import StackClock
from devenv.gcp.telemetry.service import TelemetryService
from tests.unit.devenv.gcp.fakes import (
    Everybody,
    FakeGuard,
    MemoryJournal,
    MemoryStore,
    no_faults,
)
from tests.unit.devenv.gcp.web import Web

HOST = "https://telemetry.googleapis.com"
PROTOBUF = {"content-type": "application/x-protobuf"}
NOW = int(SystemClock().now() * 1e9)
ATTRIBUTES = {
    "gcp.project_id": "p",
    "service.name": "shop",
    "service.instance.id": "one",
    "cloud.region": "us-west1",
}
COUNTER = "prometheus.googleapis.com/orders/counter"


class Signals:
    """The three services over one store, with a client of their paths."""

    def __init__(self) -> None:
        self.guard, self.store = FakeGuard(), MemoryStore()
        parts: dict[str, Any] = {
            "config": CloudConfig(project="p", number="123"),
            "store": self.store,
            "clock": SystemClock(),
            "guard": self.guard,
        }
        self.logging, monitoring = LoggingService(**parts), MonitoringService(**parts)
        keeping = {"metrics": monitoring.keep_otlp, "logs": self.logging.keep_otlp}
        telemetry = TelemetryService(**parts, authenticator=Everybody(), keeping=keeping)
        [mount] = telemetry.mounts()
        self.web = Web(mount.app)
        calls = Calls(Everybody(), MemoryJournal(), no_faults())
        self.rest = Web(RestApp(tuple(monitoring.rpcs()), calls))

    def post(self, signal: str, content: bytes, **headers: str) -> Any:
        return self.web.post(f"/v1/{signal}", content=content, headers=PROTOBUF | headers)

    def series(self, text: str, **query: str) -> Any:
        found = {
            "filter": text,
            "interval.startTime": "0001-01-01T00:00:00Z",
            "interval.endTime": "9999-01-01T00:00:00Z",
        }
        return self.rest.get("/v3/projects/p/timeSeries", params=found | query)

    def entries(self) -> list[Any]:
        found, _ = self.logging.entries.written_after(0, parse_filter(""))
        return found


@pytest.fixture
def signals() -> Signals:
    return Signals()


@pytest.fixture
def exported(signals: Signals) -> Iterator[None]:
    """Let OpenTelemetry's exporters reach the application without a socket."""

    def answer(sent: requests.PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        assert isinstance(sent.body, bytes)
        signal = str(sent.url).rpartition("/")[2]
        found = signals.post(signal, sent.body, **{k.lower(): v for k, v in sent.headers.items()})
        return found.status_code, {}, found.content

    with responses.RequestsMock() as mocked:
        mocked.add_callback("POST", f"{HOST}/v1/metrics", answer)
        mocked.add_callback("POST", f"{HOST}/v1/logs", answer)
        mocked.assert_all_requests_are_fired = False
        yield


@pytest.mark.usefixtures("exported")
def test_metrics_of_the_sdk_become_time_series(signals: Signals) -> None:
    exporter = OTLPMetricExporter(f"{HOST}/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    resource = Resource(ATTRIBUTES | {"service.namespace": "eu"})
    provider = MeterProvider([reader], resource, shutdown_on_exit=False)
    meter = provider.get_meter("shop", "1.0")
    meter.create_counter("orders", "1").add(3, {"order.kind": "gift"})
    meter.create_up_down_counter("baskets").add(-2)
    meter.create_histogram("seconds", "s").record(7)
    provider.shutdown()

    [orders] = signals.series(f'metric.type = "{COUNTER}"').json()["timeSeries"]
    baskets = signals.series('metric.type = "prometheus.googleapis.com/baskets/gauge"').json()
    seconds = signals.series('metric.type = "prometheus.googleapis.com/seconds/histogram"').json()
    types = signals.rest.get("/v3/projects/p/metricDescriptors").json()["metricDescriptors"]
    one = signals.rest.get(f"/v3/projects/p/metricDescriptors/{COUNTER}").json()

    assert orders["metric"]["labels"] == {
        "order_kind": "gift",
        "otel_scope_name": "shop",
        "otel_scope_version": "1.0",
    }
    assert orders["resource"] == {
        "type": "prometheus_target",
        "labels": {
            "project_id": "p",
            "location": "us-west1",
            "cluster": "",
            "namespace": "eu",
            "job": "eu/shop",
            "instance": "one",
        },
    }
    assert (orders["metricKind"], orders["valueType"], orders["unit"]) == (
        *("CUMULATIVE", "DOUBLE"),
        "1",
    )
    [point] = orders["points"]
    assert point["value"] == {"doubleValue": 3.0}
    assert baskets["timeSeries"][0]["points"][0]["value"] == {"doubleValue": -2.0}
    distribution = seconds["timeSeries"][0]["points"][0]["value"]["distributionValue"]
    assert (distribution["count"], distribution["mean"]) == ("1", 7.0)
    assert distribution["bucketCounts"][2] == "1"  # above 5, up to 10
    assert {each["type"].split("/")[1] for each in types} == {"orders", "baskets", "seconds"}
    assert one in types


@pytest.mark.usefixtures("exported")
def test_log_records_of_the_sdk_become_entries(signals: Signals) -> None:
    resource = Resource({**ATTRIBUTES, "service.namespace": "eu"})
    provider = LoggerProvider(resource, shutdown_on_exit=False)
    exporter = OTLPLogExporter(f"{HOST}/v1/logs")
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("shop", "1.0")
    logger.emit(
        body="sold out", severity_text="WARN", attributes={"gcp.log_name": "a/b", "item": 3}
    )
    logger.emit(body={"message": "paid", "list": [1] * 100}, timestamp=NOW)
    provider.shutdown()

    first, second = signals.entries()
    assert (first.log_name, first.text_payload) == ("projects/p/logs/a%2Fb", "sold out")
    assert first.severity == LogSeverity.WARNING
    assert first.resource.type == "generic_task"
    assert dict(first.resource.labels) == {
        "project_id": "p",
        "location": "us-west1",
        "namespace": "eu",
        "job": "shop",
        "task_id": "one",
    }
    assert first.labels["item"] == "3"
    assert first.labels["instrumentation_source"] == "shop"
    assert second.json_payload["message"] == "paid"
    assert len(second.json_payload["list"]) == 100
    assert second.timestamp.ToNanoseconds() == NOW
    assert parse_filter('jsonPayload.message="paid" AND log_id("otlp")')(EntryView(second))


@pytest.mark.parametrize(
    ("number", "text", "severity"),
    [
        (0, "", LogSeverity.DEFAULT),
        (0, "critical", LogSeverity.CRITICAL),
        (1, "", LogSeverity.DEBUG),
        (9, "ERROR", LogSeverity.INFO),
        (11, "", LogSeverity.NOTICE),
        (17, "", LogSeverity.ERROR),
        (23, "", LogSeverity.ALERT),
        (24, "", LogSeverity.EMERGENCY),
    ],
)
def test_severity_of_a_record_is_that_of_its_number(number: int, text: str, severity: int) -> None:
    sent = ResourceLogs()
    record = LogRecord(severity_number=number, severity_text=text)  # type: ignore[arg-type]
    sent.scope_logs.add().log_records.append(record)

    [entry] = entries_of(sent, "projects/p")
    assert entry.severity == severity


@pytest.mark.parametrize(
    ("attributes", "kind", "label"),
    [
        ({"cloud.platform": "gcp_cloud_run", "faas.name": "web"}, "cloud_run_revision", "web"),
        (
            {
                "cloud.platform": "gcp_cloud_run",
                "faas.name": "job",
                "gcp.cloud_run.job.execution": "job-1",
            },
            *("cloud_run_job", "job"),
        ),
        ({"host.id": "host"}, "generic_node", "host"),
        ({}, "generic_node", "global"),
    ],
)
def test_resource_of_an_entry_is_what_attributes_describe(
    attributes: dict[str, str], kind: str, label: str
) -> None:
    sent = ResourceLogs()
    for name, text in attributes.items():
        sent.resource.attributes.add(key=name).value.string_value = text
    sent.scope_logs.add().log_records.add(trace_id=b"\1" * 16, span_id=b"\2" * 8, flags=1)

    [entry] = entries_of(sent, "projects/p")
    assert entry.resource.type == kind
    assert label in entry.resource.labels.values()
    assert (entry.trace, entry.span_id) == (f"projects/p/traces/{'01' * 16}", "02" * 8)
    assert entry.trace_sampled


def metrics(*fields: dict[str, Any], **attributes: str) -> ExportMetricsServiceRequest:
    """Return a request with a counter for each of `fields`, which change it."""
    message = ExportMetricsServiceRequest()
    resource = message.resource_metrics.add()
    for name, text in (ATTRIBUTES | attributes).items():
        resource.resource.attributes.add(key=name).value.string_value = text
    scope = resource.scope_metrics.add()
    for each in fields:
        point = {"start_time_unix_nano": NOW - 1, "time_unix_nano": NOW, "as_int": 1}
        point |= each.get("point", {})
        data = {"aggregation_temporality": 2, "is_monotonic": True, "data_points": [point]}
        data |= each.get("sum", {})
        scope.metrics.add(name=each.get("name", "orders"), sum=data)
    return message


@pytest.mark.parametrize(
    ("wrong", "attributes", "problem"),
    [
        ({"name": "a b"}, {}, "The metric name 'a b' is not valid"),
        ({"sum": {"aggregation_temporality": 1}}, {}, "'orders' (sum) is not emulated"),
        ({"point": {"start_time_unix_nano": NOW + 1}}, {}, "must have a start"),
        ({"point": {"time_unix_nano": 0}}, {}, "must have a time"),
        ({"point": {"time_unix_nano": 2**64 - 1}}, {}, "must have a time"),
        (
            {"point": {"attributes": [{"key": "k", "value": {"string_value": "x" * 9000}}]}},
            *({}, "at most 8192 are possible"),
        ),
        ({}, {"service.instance.id": ""}, "instance of prometheus_target is empty"),
        ({}, {"cloud.region": ""}, "location of prometheus_target is empty"),
    ],
)
def test_invalid_point_is_rejected_and_counted(
    signals: Signals, wrong: dict[str, Any], attributes: dict[str, str], problem: str
) -> None:
    sent = metrics({})
    sent.resource_metrics.append(metrics(wrong, **attributes).resource_metrics[0])
    answer = signals.post("metrics", sent.SerializeToString())

    partial = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert (answer.status_code, partial.rejected_data_points) == (200, 1)
    assert problem in partial.error_message
    assert len(signals.series(f'metric.type="{COUNTER}"').json()["timeSeries"]) == 1


def test_invalid_log_record_is_rejected_and_counted(signals: Signals) -> None:
    not_a_number = {"kvlistValue": {"values": [{"key": "x", "value": {"doubleValue": "NaN"}}]}}
    bodies = ({"stringValue": "x" * (300 << 10)}, not_a_number, {"stringValue": "kept"})
    records = [{"body": body} for body in bodies]
    project = {"key": "gcp.project_id", "value": {"stringValue": "p"}}
    body = {
        "resourceLogs": [
            {"resource": {"attributes": [project]}, "scopeLogs": [{"logRecords": records}]}
        ]
    }
    answer = signals.web.post("/v1/logs", json=body).json()

    assert answer["partialSuccess"]["rejectedLogRecords"] == "2"
    assert "exceeds maximum size" in answer["partialSuccess"]["errorMessage"]
    assert [entry.text_payload for entry in signals.entries()] == ["kept"]


def test_request_of_too_many_points_is_refused_before_they_are_read(
    signals: Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "series_of", None)
    answer = signals.post("metrics", metrics(*[{}] * 201).SerializeToString())

    assert answer.status_code == 400
    assert b"201 data points or more; at most 200" in answer.content


@pytest.mark.parametrize("signal", ["metrics", "logs"])
def test_signal_needs_its_permission(signals: Signals, signal: str) -> None:
    signals.guard.denied.add(f"telemetry.{signal}.write")

    assert signals.post(signal, b"").status_code == 403
    assert signals.guard.asked[-1] == (f"telemetry.{signal}.write", "projects/p")


def test_list_filters_series_by_labels(signals: Signals) -> None:
    for instance in ("one", "two"):
        sent = metrics({}, **{"service.instance.id": instance})
        assert signals.post("metrics", sent.SerializeToString()).status_code == 200
    metric = f'metric.type="{COUNTER}"'
    counts = {
        text: len(signals.series(f"{metric} AND {text}").json().get("timeSeries", []))
        for text in (
            'resource.labels.instance="one"',
            'NOT resource.label.instance="one"',
            'resource.labels.instance != "one"',
            'resource.labels.instance = one_of("one", "two")',
            'resource.labels.instance = starts_with("t") OR resource.labels.instance = "one"',
            'resource.labels.instance = monitoring.regex.full_match("o.*")',
            'resource.labels.instance = monitoring.regex.full_match("n")',
            'resource.labels.instance : "n"',
            'resource.type = "gce_instance"',
        )
    }

    assert list(counts.values()) == [1, 1, 1, 2, 2, 1, 0, 1, 0]


@pytest.mark.parametrize(
    ("query", "status", "problem"),
    [
        ({"filter": 'resource.type = "a"'}, 400, "single metric type"),
        ({"filter": 'metric.type = "a" AND resource.type = "b'}, 400, "not a valid filter"),
        ({"interval.startTime": "9999-02-01T00:00:00Z"}, 400, "must not be after"),
        ({"orderBy": "x"}, 501, "order_by"),
        ({"secondaryAggregation.perSeriesAligner": "ALIGN_SUM"}, 501, "secondary_aggregation"),
        ({"aggregation.perSeriesAligner": "ALIGN_SUM"}, 400, "at least 60 seconds"),
        ({"aggregation.perSeriesAligner": "ALIGN_INTERPOLATE"}, 501, "ALIGN_INTERPOLATE"),
        ({"aggregation.crossSeriesReducer": "REDUCE_SUM"}, 400, "needs a perSeriesAligner"),
        (
            {"filter": 'metric.type="a" metric.label.b = monitoring.regex.full_match("(")'},
            *(400, "Invalid regular expression"),
        ),
    ],
)
def test_invalid_list_is_refused(
    signals: Signals, query: dict[str, str], status: int, problem: str
) -> None:
    answer = signals.series('metric.type = "a"', **query)

    assert answer.status_code == status
    assert problem in json.dumps(answer.json())


def test_series_store_keeps_the_newest_points_until_they_are_old() -> None:
    disk = MemoryStore()
    clock = StackClock(disk, lambda: NOW // 10**9 + 10.0)
    store, series = SeriesStore(disk, clock, most_points=2), TimeSeries()
    series.metric.type = "a"
    for second in (1, 2, 2, 3):
        point = series.points.add()
        point.interval.end_time.FromSeconds(NOW // 10**9 + second)
    store.add([series])

    [header] = store.headers("a")
    assert len(store.points(header, since=0, until=2**62)) == 2

    asyncio.run(clock.advance(RETENTION - 8))
    assert store.headers() == [header]
    asyncio.run(clock.advance(5))
    assert store.headers() == []
    # A program that writes after the turn has the machine's time still.
    series.points[-1].interval.end_time.FromSeconds(NOW // 10**9 + 10)
    store.add([series])
    assert store.headers() == [header]
