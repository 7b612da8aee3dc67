"""Log records of OTLP as log entries.

See https://docs.cloud.google.com/stackdriver/docs/reference/telemetry/otlp-log-record-to-log-entry and
https://docs.cloud.google.com/stackdriver/docs/reference/telemetry/otlp-attribute-to-logging-resource.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from google.logging.type.log_severity_pb2 import LogSeverity
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from devenv.gcp.logging.entries import new_resource
from devenv.gcp.logging.entry_view import LogEntry
from devenv.gcp.otlp import attributes_of, plain, text_of

_NAMES = ("gcp.log_name", "log_name", "event_name")
_UNNAMED = "otlp"  # the log of records that name none
# The highest number of OpenTelemetry's severities that a severity of Cloud Logging stands for.
_SEVERITIES = (
    (0, LogSeverity.DEFAULT),
    (8, LogSeverity.DEBUG),
    (10, LogSeverity.INFO),
    (12, LogSeverity.NOTICE),
    (16, LogSeverity.WARNING),
    (20, LogSeverity.ERROR),
    (22, LogSeverity.CRITICAL),
    (23, LogSeverity.ALERT),
)
_BY_TEXT = dict(LogSeverity.items()) | {
    "TRACE": LogSeverity.DEBUG,
    "WARN": LogSeverity.WARNING,
    "FATAL": LogSeverity.CRITICAL,
}
_OF_SOURCE = ("service.name", "service.namespace", "service.instance.id")


def entries_of(resource: ResourceLogs, project: str) -> Iterator[Any]:
    """Yield the entries of a resource, whose project has this full name."""
    attributes = attributes_of(resource.resource.attributes)
    monitored = _monitored_resource(attributes)
    for scope in resource.scope_logs:
        labels = _source_labels(attributes, scope)
        for record in scope.log_records:
            entry = _entry(record, project, labels)
            entry.resource.CopyFrom(monitored)
            yield entry


def _source_labels(attributes: Mapping[str, str], scope: ScopeLogs) -> dict[str, str]:
    labels = {
        **{name: attributes.get(name, "") for name in _OF_SOURCE},
        "instrumentation_source": scope.scope.name,
        "instrumentation_version": scope.scope.version,
    }
    return {name: text for name, text in labels.items() if text}


def _entry(record: LogRecord, project: str, labels: Mapping[str, str]) -> Any:
    attributes = attributes_of(record.attributes)
    given = (attributes.pop(name, "") for name in _NAMES)
    log_id = next(filter(None, [*given, record.event_name]), _UNNAMED)
    entry = LogEntry(
        log_name=f"{project}/logs/{quote(log_id, safe='')}",
        severity=_severity(record),
        labels={**labels, **attributes},
        span_id=record.span_id.hex(),
        trace_sampled=bool(record.flags & 1),
    )
    if any(record.trace_id):
        entry.trace = f"{project}/traces/{record.trace_id.hex()}"
    nanoseconds = record.time_unix_nano or record.observed_time_unix_nano
    if nanoseconds:
        entry.timestamp.FromNanoseconds(nanoseconds)
    if record.body.WhichOneof("value") == "kvlist_value":
        entry.json_payload.update(plain(record.body, most=None))
    else:
        entry.text_payload = text_of(record.body, longest=None)
    return entry


def _severity(record: LogRecord) -> int:
    if not record.severity_number:
        return int(_BY_TEXT.get(record.severity_text.upper(), LogSeverity.DEFAULT))
    found = (name for most, name in _SEVERITIES if record.severity_number <= most)
    return int(next(found, LogSeverity.EMERGENCY))


def _monitored_resource(attributes: Mapping[str, str]) -> Any:
    """Return the resource that the attributes of a program describe; the host is the last guess."""

    def first(*names: str) -> str:
        return next(filter(None, (attributes.get(name, "") for name in names)), "")

    location = first("cloud.availability_zone", "cloud.region") or "global"
    namespace = first("service.namespace")
    if attributes.get("cloud.platform") == "gcp_cloud_run":
        name = first("faas.name")
        if "gcp.cloud_run.job.execution" in attributes:
            return new_resource("cloud_run_job", job_name=name, location=location)
        return new_resource(
            "cloud_run_revision",
            service_name=name,
            revision_name=first("faas.version"),
            configuration_name=name,
            location=location,
        )
    job, task = first("service.name", "faas.name"), first("service.instance.id", "faas.instance")
    if job and task:
        return new_resource(
            "generic_task", location=location, namespace=namespace, job=job, task_id=task
        )
    node = first("host.id", "host.name")
    return new_resource("generic_node", location=location, namespace=namespace, node_id=node)
