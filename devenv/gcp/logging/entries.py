"""Names, limits and defaults of log entries: what callers may write.

See https://cloud.google.com/logging/quotas and google/logging/v2/logging.proto.
"""

import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from google.api.monitored_resource_pb2 import MonitoredResource
from google.logging.type.log_severity_pb2 import LogSeverity
from google.protobuf import json_format

from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument, Unimplemented, wrong_project
from devenv.gcp.logging.entry_view import LogEntry
from devenv.gcp.messages import moment, set_moment

SERVICE = "logging.googleapis.com"
DAY = 86_400.0
RETENTION = 30 * DAY
_FUTURE = DAY
LARGEST_ENTRY, LARGEST_WRITE = 256 << 10, 10_000_000  # bytes
_MOST_LABELS, _LONGEST_KEY, _LONGEST_LABEL, _LONGEST_LOG_ID = 64, 512, 64 << 10, 512
_LOG_ID = re.compile(r"[A-Za-z0-9/_.\-]+")


class LoggingNames:
    """Reads the names in requests; the project may be given by its number too."""

    def __init__(self, config: CloudConfig) -> None:
        self._projects = {config.project, config.number}
        self.project_name = f"projects/{config.project}"

    def project(self, text: str) -> str:
        """Return a project's full name. Raises CloudError."""
        kind, _, name = text.partition("/")
        if kind in ("organizations", "folders", "billingAccounts"):
            raise Unimplemented(
                f"Logs of {kind} are not emulated, only those of projects: {text[:100]!r}."
            )
        if kind != "projects" or not name:
            raise InvalidArgument(
                f"The resource name {text[:100]!r} is not valid; it must have the format projects/[PROJECT_ID]."
            )
        if "/" in name:
            raise InvalidArgument(
                f"{text[:100]!r} is not the name of a project: projects/[PROJECT_ID]."
            )
        if name not in self._projects:
            raise wrong_project(name[:100], SERVICE)
        return self.project_name

    def log(self, text: str) -> str:
        """Return a log's full name with its id encoded for URLs. Raises CloudError."""
        parts = text.split("/", 3)
        if len(parts) < 4 or parts[2] != "logs" or not parts[3]:
            raise InvalidArgument(
                f"The log name {text[:100]!r} is not valid; it must have the format "
                "projects/[PROJECT_ID]/logs/[LOG_ID]."
            )
        project, log_id = self.project("/".join(parts[:2])), unquote(parts[3])
        if len(log_id) >= _LONGEST_LOG_ID or not _LOG_ID.fullmatch(log_id):
            raise InvalidArgument(
                f"The log id {log_id[:100]!r} is not valid; it must have fewer than {_LONGEST_LOG_ID} "
                "characters: letters, digits, slashes, underscores, hyphens and periods."
            )
        return f"{project}/logs/{quote(log_id, safe='')}"


def completed_entry(entry: Any, request: Any, names: LoggingNames, *, now: float) -> Any:
    """Return an entry with the defaults of its request and of the service. Raises CloudError."""
    full = LogEntry()
    full.CopyFrom(entry)
    full.log_name = names.log(entry.log_name or request.log_name)
    if not full.HasField("resource") and request.HasField("resource"):
        full.resource.CopyFrom(request.resource)
    for key, text in request.labels.items():
        if key not in full.labels:
            full.labels[key] = text
    _check(full)
    complete(full, names.project_name, now=now)
    return full


def complete(entry: Any, project: str, *, now: float) -> None:
    """Set what the service itself adds to an entry."""
    if not entry.HasField("timestamp"):
        set_moment(entry.timestamp, now)
    set_moment(entry.receive_timestamp, now)
    entry.insert_id = entry.insert_id or uuid.uuid4().hex[:16]
    if "project_id" not in entry.resource.labels:
        entry.resource.labels["project_id"] = project.removeprefix("projects/")


def is_json(payload: Any) -> bool:
    """Return whether a Struct can be written as JSON, which has neither NaN nor infinity."""
    try:
        json_format.MessageToDict(payload)
    except (json_format.SerializeToJsonError, ValueError, RecursionError):
        return False
    return True


def is_kept(entry: Any, *, now: float) -> bool:
    """Return whether an entry can be listed: Google drops what is too old, and what is to come."""
    return now - RETENTION <= moment(entry.timestamp) <= now + _FUTURE


def _check(entry: Any) -> None:
    if not entry.resource.type:
        raise InvalidArgument(
            "A monitored resource is required: set resource.type in the entry or in the request."
        )
    if entry.HasField("proto_payload"):
        raise Unimplemented("protoPayload is not emulated; use textPayload or jsonPayload.")
    if entry.WhichOneof("payload") is None and not entry.HasField("http_request"):
        raise InvalidArgument("A payload is required: set textPayload or jsonPayload in the entry.")
    if entry.HasField("timestamp"):
        moment(entry.timestamp)
    if not is_json(entry.json_payload):
        raise InvalidArgument("jsonPayload has a value that JSON does not have, such as NaN.")
    _check_labels(entry.labels)
    if entry.severity not in LogSeverity.values():
        raise InvalidArgument(f"The severity {entry.severity} is not a LogSeverity.")
    if entry.ByteSize() > LARGEST_ENTRY:
        raise InvalidArgument(
            f"Log entry with size {entry.ByteSize()} bytes exceeds maximum size of {LARGEST_ENTRY} bytes."
        )


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > _MOST_LABELS:
        raise InvalidArgument(f"An entry has at most {_MOST_LABELS} labels, not {len(labels)}.")
    for key, text in labels.items():
        if len(key) > _LONGEST_KEY or len(text.encode()) > _LONGEST_LABEL:
            raise InvalidArgument(
                f"The label {key[:100]!r} is too long: keys have at most {_LONGEST_KEY} characters, "
                f"values {_LONGEST_LABEL} bytes."
            )


def new_resource(kind: str, **labels: str) -> Any:
    return MonitoredResource(type=kind, labels=labels)
