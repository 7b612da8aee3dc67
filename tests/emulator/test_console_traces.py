"""Traces in the console over a running emulated cloud."""

import re
import time
from pathlib import Path
from uuid import uuid4

import google.auth
import grpc
from google.auth.transport.requests import AuthorizedSession
from google.cloud import logging, monitoring_v3, run_v2, storage, trace_v1
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from devenv.gcp import Cloud
from devenv.pytest_plugin import ActAs
from tests.emulator.conftest import page_with
from tests.unit.devenv.console.console import ConsoleClient


def test_trace_page_has_calls_executions_and_log_lines(
    visitor: ConsoleClient, cloud: Cloud, act_as: ActAs, tmp_path: Path
) -> None:
    act_as("admin")
    trace = uuid4()
    parent = (("traceparent", f"00-{trace.hex}-b7ad6b7169203331-01"),)
    name = f"projects/{cloud.config.project}/locations/{cloud.config.region}/jobs/sleeper"
    override = run_v2.RunJobRequest.Overrides.ContainerOverride(
        env=[run_v2.EnvVar(name="INPUT", value=f"gs://b/{trace}/input.json")]
    )
    overrides = run_v2.RunJobRequest.Overrides(container_overrides=[override])
    with run_v2.JobsClient() as client:
        request = run_v2.RunJobRequest(name=name, overrides=overrides)
        client.run_job(request, metadata=parent)
    blob = storage.Client().bucket("validibot-local").blob(f"runs/{trace}/input.json")
    blob.upload_from_string("{}")
    (tmp_path / "logs" / "web.log").write_text(f"INFO: {trace} <begins>\n")
    page = page_with(visitor, f"/traces/{trace}", "storage.objects.insert")
    execution = re.findall(r"/jobs/sleeper/executions/(sleeper-\w{5})", page)
    visitor.act(f"/jobs/sleeper/executions/{execution[0]}/cancel")

    for text in ("run.Jobs.RunJob", "execution", "storage.objects.insert", "&lt;begins&gt;"):
        assert text in page
    assert f'href="/traces/{trace.hex}"' in visitor.get("/traces").text


def test_trace_page_has_spans_of_programs(
    visitor: ConsoleClient, cloud: Cloud, act_as: ActAs
) -> None:
    """A program exports them with OpenTelemetry's exporter and its own credentials, or by gRPC."""
    act_as("admin")
    session = AuthorizedSession(google.auth.default()[0])  # type: ignore[no-untyped-call]
    exporter = OTLPSpanExporter("https://telemetry.googleapis.com/v1/traces", session=session)
    resource = Resource({"gcp.project_id": "validibot-local", "service.name": "shop"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("shop").start_as_current_span("checkout <1>") as span:
        span.set_attribute("basket.items", 3)
    provider.shutdown()
    trace = f"{span.get_span_context().trace_id:032x}"
    request = ExportTraceServiceRequest()
    sent = request.resource_spans.add()
    sent.resource.attributes.add(key="gcp.project_id").value.string_value = "validibot-local"
    sent.scope_spans.add().spans.add(
        trace_id=bytes.fromhex(trace),
        span_id=b"span-two",
        name="parcel",
        start_time_unix_nano=time.time_ns(),
        end_time_unix_nano=time.time_ns(),
    )
    with grpc.insecure_channel(cloud.plain_url.removeprefix("http://")) as channel:
        authorization = ("authorization", f"Bearer {session.credentials.token}")
        stub = TraceServiceStub(channel)  # type: ignore[no-untyped-call]
        stub.Export(request, metadata=[authorization])

    page = visitor.get(f"/traces/{trace}").text
    for text in ("checkout &lt;1&gt;", "basket.items", "shop", "parcel", 'data-kind="program"'):
        assert text in page
    assert f'href="/traces/{trace}"' in visitor.get("/traces").text
    with trace_v1.TraceServiceClient() as client:
        read = client.get_trace(project_id="validibot-local", trace_id=trace)
    assert {each.name for each in read.spans} == {"checkout <1>", "parcel"}


def test_unknown_trace_is_empty_and_a_wrong_id_refused(visitor: ConsoleClient) -> None:
    assert "no call of this trace" in visitor.get(f"/traces/{uuid4()}").text
    assert visitor.get("/traces/xyz").status_code == 404
    assert visitor.get(f"/traces?id={'A' * 32}").headers["location"] == f"/traces/{'a' * 32}"


def test_exported_metrics_and_logs_are_read_by_clients(
    visitor: ConsoleClient, act_as: ActAs
) -> None:
    """OpenTelemetry's exporters send them by HTTP, Google's clients and the console list them."""
    act_as("admin")
    session = AuthorizedSession(google.auth.default()[0])  # type: ignore[no-untyped-call]
    resource = Resource(
        {
            "gcp.project_id": "validibot-local",
            "cloud.region": "us-west1",
            "service.name": "shop",
            "service.instance.id": "one",
        }
    )
    url = "https://telemetry.googleapis.com/v1"
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{url}/metrics", session=session))
    meters = MeterProvider([reader], resource, shutdown_on_exit=False)
    meters.get_meter("shop").create_counter("orders").add(3)
    meters.shutdown()
    loggers = LoggerProvider(resource, shutdown_on_exit=False)
    exporter = OTLPLogExporter(f"{url}/logs", session=session)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    loggers.get_logger("shop").emit(body="sold out", attributes={"gcp.log_name": "otlp-shop"})
    loggers.shutdown()

    now = int(time.time())
    interval = monitoring_v3.TimeInterval(
        start_time={"seconds": now - 600}, end_time={"seconds": now + 600}
    )
    with monitoring_v3.MetricServiceClient() as client:
        [series] = client.list_time_series(
            name="projects/validibot-local",
            filter='metric.type = "prometheus.googleapis.com/orders/counter"',
            interval=interval,
        )
    [entry] = logging.Client().list_entries(filter_='log_id("otlp-shop")')  # type: ignore[no-untyped-call]
    assert series.points[0].value.double_value == 3
    assert series.resource.labels["job"] == "shop"
    assert entry.payload == "sold out"
    kind = "prometheus.googleapis.com/orders/counter"
    assert kind in visitor.get("/monitoring").text
    descriptor = f"projects/validibot-local/metricDescriptors/{kind}"
    page = visitor.get(f"/monitoring/metrics?name={descriptor}").text
    assert "latest 3.0, at most 3.0" in page
    assert "job=shop" in page
