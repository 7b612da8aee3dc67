"""Output lines of jobs and services as log entries.

See https://cloud.google.com/run/docs/logging and
https://cloud.google.com/logging/docs/structured-logging: a line that is a JSON object becomes a
jsonPayload, and its special fields become fields of the entry.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.logging.type.log_severity_pb2 import LogSeverity
from google.protobuf import json_format
from google.protobuf.message import Message

from devenv.gcp.clock import Clock, rfc3339
from devenv.gcp.config import CloudConfig
from devenv.gcp.logging.entries import (
    LARGEST_ENTRY,
    complete,
    is_json,
    is_kept,
    new_resource,
)
from devenv.gcp.logging.entry_store import LogStore
from devenv.gcp.logging.entry_view import LogEntry
from devenv.gcp.run_jobs.runtimes.base import EmulatedAttempt, OutputLine, OutputStream

_LOGS = {
    OutputStream.STDOUT: "run.googleapis.com%2Fstdout",
    OutputStream.STDERR: "run.googleapis.com%2Fstderr",
    OutputStream.SYSTEM: "run.googleapis.com%2Fvarlog%2Fsystem",
}
_PREFIX = "logging.googleapis.com/"
_DEEPEST = 50
_LONGEST_TEXT = LARGEST_ENTRY - 4096  # bytes; the rest is for the other fields


class OutputLines:
    """Writes the lines that containers print to the store."""

    def __init__(self, config: CloudConfig, store: LogStore, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._number = 0  # orders lines of the same moment

    def __call__(self, attempt: EmulatedAttempt, lines: Sequence[OutputLine]) -> None:
        now = self._clock.now()
        entries = [self._entry(attempt, stream, line, now) for stream, line in lines]
        self._store.add((each for each in entries if is_kept(each, now=now)), now=now)

    def _entry(self, attempt: EmulatedAttempt, stream: OutputStream, line: str, now: float) -> Any:
        entry = LogEntry()
        if stream is OutputStream.SYSTEM:
            entry.text_payload, entry.severity = line, LogSeverity.WARNING
        else:
            _fill_payload(entry, line)
        project = f"projects/{self._config.project}"
        entry.log_name = f"{project}/logs/{_LOGS[stream]}"
        self._label(entry, attempt)
        self._number += 1
        entry.insert_id = entry.insert_id or f"{int(now * 1e6):x}{self._number:08x}"
        complete(entry, project, now=now)
        return entry

    def _label(self, entry: Any, attempt: EmulatedAttempt) -> None:
        env, region = attempt.env, self._config.region
        if attempt.kind == "instance":
            resource = new_resource(
                "cloud_run_revision",
                service_name=env["K_SERVICE"],
                revision_name=env["K_REVISION"],
                configuration_name=env["K_CONFIGURATION"],
                location=region,
            )
        else:
            resource = new_resource("cloud_run_job", job_name=env["CLOUD_RUN_JOB"], location=region)
            entry.labels["run.googleapis.com/execution_name"] = attempt.execution
            entry.labels["run.googleapis.com/task_index"] = str(attempt.index)
            entry.labels["run.googleapis.com/task_attempt"] = str(attempt.number)
        entry.resource.CopyFrom(resource)
        entry.labels["instanceId"] = attempt.instance_id


def _fill_payload(entry: Any, line: str) -> None:
    """Set the payload of an entry, and the fields that a JSON line names."""
    fields = _parsed(line)
    if fields is None:
        entry.text_payload = _short(line)
        return
    rest = dict(fields)
    for name, take in _SPECIAL.items():
        # A special field that is not as documented stays in the payload.
        if name in rest and take(entry, rest[name]):
            del rest[name]
    if set(rest) == {"message"} and isinstance(rest["message"], str):
        entry.text_payload = rest["message"]
        return
    try:
        json_format.ParseDict(rest, entry.json_payload, max_recursion_depth=_DEEPEST)
    except (json_format.ParseError, RecursionError):
        entry.Clear()
    if not is_json(entry.json_payload) or entry.ByteSize() > LARGEST_ENTRY:
        entry.Clear()
    if entry.WhichOneof("payload") is None:
        entry.text_payload = _short(line)


def _short(line: str) -> str:
    """Return a text that an entry can hold: bytes that are no text have become longer."""
    return line.encode()[:_LONGEST_TEXT].decode(errors="ignore")


def _parsed(line: str) -> dict[str, Any] | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text_field(name: str) -> Callable[[Any, Any], bool]:
    def take(entry: Any, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        setattr(entry, name, value)
        return True

    return take


def _message_field(name: str) -> Callable[[Any, Any], bool]:
    def take(entry: Any, value: Any) -> bool:
        return isinstance(value, dict) and _merged(getattr(entry, name), value)

    return take


def _merged(target: Message, value: Any) -> bool:
    parsed = type(target)()
    try:
        json_format.ParseDict(value, parsed, ignore_unknown_fields=True)
    except json_format.ParseError:
        return False
    target.CopyFrom(parsed)
    return True


_NAMES = {"WARN": "WARNING", "ERR": "ERROR", "CRIT": "CRITICAL", "FATAL": "CRITICAL"}


def _take_severity(entry: Any, value: Any) -> bool:
    name = value.upper() if isinstance(value, str) else ""
    name = _NAMES.get(name, name)
    if name not in LogSeverity.keys():  # noqa: SIM118 - not a mapping
        return False
    entry.severity = LogSeverity.Value(name)
    return True


def _take_labels(entry: Any, value: Any) -> bool:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        return False
    entry.labels.update(value)
    return True


def _take_sampled(entry: Any, value: Any) -> bool:
    if not isinstance(value, bool):
        return False
    entry.trace_sampled = value
    return True


def _take_time(entry: Any, value: Any) -> bool:
    return isinstance(value, str) and _merged(entry.timestamp, value)


def _take_timestamp(entry: Any, value: Any) -> bool:
    if not isinstance(value, dict):
        return _take_time(entry, value)
    try:
        unix = int(value["seconds"]) + int(value.get("nanos", 0)) / 1e9
        return _merged(entry.timestamp, rfc3339(unix))
    except (KeyError, TypeError, ValueError, OverflowError):
        return False


_SPECIAL: Mapping[str, Callable[[Any, Any], bool]] = {
    "severity": _take_severity,
    "httpRequest": _message_field("http_request"),
    "time": _take_time,
    "timestamp": _take_timestamp,
    f"{_PREFIX}insertId": _text_field("insert_id"),
    f"{_PREFIX}labels": _take_labels,
    f"{_PREFIX}operation": _message_field("operation"),
    f"{_PREFIX}sourceLocation": _message_field("source_location"),
    f"{_PREFIX}spanId": _text_field("span_id"),
    f"{_PREFIX}trace": _text_field("trace"),
    f"{_PREFIX}trace_sampled": _take_sampled,
}
