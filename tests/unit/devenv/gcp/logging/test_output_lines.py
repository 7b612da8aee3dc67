"""Output lines of jobs and services as log entries."""

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from devenv.gcp.clock import ManualClock
from devenv.gcp.logging.entry_store import EntryQuery, LogStore
from devenv.gcp.logging.output import OutputLines
from devenv.gcp.run_jobs.runtimes.base import EmulatedAttempt, OutputStream
from tests.declared import cloud as declared_cloud
from tests.unit.devenv.gcp.fakes import MemoryStore

pytestmark = pytest.mark.anyio

JOB = EmulatedAttempt(
    execution="thumbs-1",
    index=2,
    number=1,
    image="i",
    account="a",
    memory=1,
    env={"CLOUD_RUN_JOB": "thumbs"},
)
INSTANCE = EmulatedAttempt(
    execution="web-00001-abc",
    index=1,
    number=0,
    kind="instance",
    image="i",
    account="a",
    memory=1,
    env={"K_SERVICE": "web", "K_REVISION": "web-00001-abc", "K_CONFIGURATION": "web"},
)


async def entries_of(attempt: EmulatedAttempt, *lines: tuple[OutputStream, str]) -> list[Any]:
    store = LogStore(MemoryStore())
    OutputLines(declared_cloud(), store, ManualClock())(attempt, lines)
    found, _ = await store.find(
        EntryQuery(test=lambda _: True, descending=False, size=100, token="", of="")
    )
    return [MessageToDict(each) for each in found]


async def entry_of(line: str) -> Any:
    (entry,) = await entries_of(JOB, (OutputStream.STDOUT, line))
    return entry


async def test_job_lines_have_stream_resource_and_labels() -> None:
    lines = ((OutputStream.STDERR, "b"), (OutputStream.STDOUT, "a"), (OutputStream.SYSTEM, "c"))
    entries = await entries_of(JOB, *lines)

    ids = [each["logName"].rpartition("/")[2] for each in entries]
    assert [each["textPayload"] for each in entries] == ["b", "a", "c"]
    assert ids == [
        f"run.googleapis.com%2F{name}" for name in ("stderr", "stdout", "varlog%2Fsystem")
    ]
    assert entries[0]["resource"] == {
        "type": "cloud_run_job",
        "labels": {"project_id": "validibot-local", "job_name": "thumbs", "location": "us-west1"},
    }
    assert (
        entries[0]["labels"].items()
        >= {
            "run.googleapis.com/execution_name": "thumbs-1",
            "run.googleapis.com/task_index": "2",
            "run.googleapis.com/task_attempt": "1",
        }.items()
    )


async def test_service_lines_have_their_revision() -> None:
    (entry,) = await entries_of(INSTANCE, (OutputStream.STDOUT, "ready"))

    assert entry["resource"]["type"] == "cloud_run_revision"
    assert entry["resource"]["labels"] == {
        "project_id": "validibot-local",
        "service_name": "web",
        "revision_name": "web-00001-abc",
        "configuration_name": "web",
        "location": "us-west1",
    }


async def test_special_fields_of_a_json_line_become_fields_of_the_entry() -> None:
    entry = await entry_of(
        '{"severity": "warn", "message": "slow", "user": 7, "time": "2027-01-15T07:00:00.5Z",'
        ' "httpRequest": {"status": 200, "requestMethod": "GET", "other": 1},'
        ' "logging.googleapis.com/trace": "projects/p/traces/1",'
        ' "logging.googleapis.com/spanId": "2", "logging.googleapis.com/trace_sampled": true,'
        ' "logging.googleapis.com/labels": {"k": "v"},'
        ' "logging.googleapis.com/sourceLocation": {"file": "a.py", "line": "3"}}'
    )

    assert entry["jsonPayload"] == {"message": "slow", "user": 7}
    assert (entry["severity"], entry["timestamp"]) == ("WARNING", "2027-01-15T07:00:00.500Z")
    assert entry["httpRequest"] == {"status": 200, "requestMethod": "GET"}
    assert (entry["trace"], entry["spanId"]) == ("projects/p/traces/1", "2")
    assert entry["traceSampled"] is True
    assert entry["labels"]["k"] == "v"
    assert entry["sourceLocation"] == {"file": "a.py", "line": "3"}


async def test_message_alone_becomes_text() -> None:
    entry = await entry_of('{"severity": "ERROR", "message": "failed"}')

    assert (entry["textPayload"], entry["severity"]) == ("failed", "ERROR")


@pytest.mark.parametrize(
    ("line", "payload"),
    [
        ('{"severity": 7}', {"jsonPayload": {"severity": 7}}),
        ('{"httpRequest": {"status": "x"}}', {"jsonPayload": {"httpRequest": {"status": "x"}}}),
        ('{"timestamp": {"seconds": "x"}}', {"jsonPayload": {"timestamp": {"seconds": "x"}}}),
        ('{"timestamp": {"seconds": 1e30}}', {"jsonPayload": {"timestamp": {"seconds": 1e30}}}),
        ("{broken", {"textPayload": "{broken"}),
        ('{"a": NaN}', {"textPayload": '{"a": NaN}'}),
        ('{"a":' * 200 + "1" + "}" * 200, {"textPayload": '{"a":' * 200 + "1" + "}" * 200}),
        ('["a"]', {"textPayload": '["a"]'}),
    ],
)
async def test_unusual_line_is_kept(line: str, payload: dict[str, Any]) -> None:
    entry = await entry_of(line)

    assert {key: value for key, value in entry.items() if key.endswith("Payload")} == payload
