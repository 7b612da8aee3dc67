"""Log sinks by REST, and the entries that they carry to topics and buckets."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from devenv.gcp.caller import ApiCaller
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import CloudError, PermissionDenied
from devenv.gcp.logging import exports
from devenv.gcp.logging.entries import complete, new_resource
from devenv.gcp.logging.entry_view import LogEntry
from devenv.gcp.logging.exports import BUCKETS, SinkExports
from devenv.gcp.logging.service import LoggingService
from devenv.gcp.logging.sinks import LogSinksService
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from devenv.gcp.storage.errors import PreconditionFailed
from tests.unit.devenv.gcp.fakes import (
    Everybody,
    FakeGuard,
    FakeTopics,
    MemoryJournal,
    MemoryStore,
    no_faults,
)

pytestmark = pytest.mark.anyio
TOPIC = "projects/p/topics/errors"
ERRORS = {
    "name": "errors",
    "destination": f"pubsub.googleapis.com/{TOPIC}",
    "filter": "severity>=ERROR",
}
ARCHIVE = {"name": "archive", "destination": "storage.googleapis.com/logs-archive"}
LOGS = "logging.googleapis.com/projects/p/locations/global"
WRITER = "serviceAccount:service-123@gcp-sa-logging.iam.gserviceaccount.com"


class FakeObjects:
    """Keeps the objects that are written, each once; `refusal` is raised instead."""

    def __init__(self) -> None:
        self.found: dict[str, list[dict[str, Any]]] = {}
        self.refusal: CloudError | None = None

    def write(self, caller: ApiCaller, bucket: str, name: str, data: bytes) -> None:
        if self.refusal:
            raise self.refusal
        if f"{bucket}/{name}" in self.found:
            raise PreconditionFailed
        self.found[f"{bucket}/{name}"] = [json.loads(line) for line in data.splitlines()]


class SinkBench:
    """The sinks of one project, beside a log that tests write to."""

    def __init__(self) -> None:
        self.store, self.guard, self.clock = MemoryStore(), FakeGuard(), ManualClock()
        self.topics, self.objects = FakeTopics(), FakeObjects()
        self.make()

    def make(self) -> None:
        """Make the service as a start of the emulator does."""
        config = CloudConfig(project="p", number="123")
        self.logging = LoggingService(
            config=config, store=self.store, clock=self.clock, guard=self.guard
        )
        self.entries = self.logging.entries
        exports = SinkExports(
            store=self.store,
            clock=self.clock,
            guard=self.guard,
            topics=self.topics,
            objects=self.objects,
            buckets=self.logging.buckets,
        )
        self.service = LogSinksService(
            config=config,
            store=self.store,
            clock=self.clock,
            guard=self.guard,
            exports=exports,
        )

    async def ask(self, verb: str, path: str, body: Any = None) -> httpx.Response:
        calls = Calls(Everybody(), MemoryJournal(), no_faults())
        rpcs = [*self.service.rpcs(), *self.logging.rpcs()]
        transport = httpx.ASGITransport(RestApp(rpcs, calls))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            place = path if path.startswith("entries:") else f"projects/p/{path}"
            return await client.request(verb, f"/v2/{place}", json=body)

    async def texts_of(self, view: str, **query: Any) -> list[str]:
        """Return the texts of the entries that a view shows."""
        body = {"resourceNames": [f"projects/p/locations/{view}"], **query}
        answer = await self.ask("POST", "entries:list", body)
        assert answer.status_code == 200, answer.text
        return [each["textPayload"] for each in answer.json().get("entries", [])]

    async def make_sink(self, sink: dict[str, Any]) -> dict[str, Any]:
        answer = await self.ask("POST", "sinks?uniqueWriterIdentity=true", sink)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def write(self, text: str, severity: int = 200) -> None:
        entry = LogEntry(log_name="projects/p/logs/app", severity=severity, text_payload=text)
        entry.resource.CopyFrom(new_resource("global"))
        complete(entry, "projects/p", now=self.clock.now())
        self.entries.add([entry], now=self.clock.now())

    def published(self) -> list[str]:
        return [json.loads(data)["textPayload"] for _, data, _ in self.topics.published]


@pytest.fixture
async def bench() -> AsyncIterator[SinkBench]:
    bench = SinkBench()
    await bench.service.start()
    yield bench
    await bench.service.stop()


async def test_sink_is_made_changed_listed_and_deleted(bench: SinkBench) -> None:
    made = await bench.make_sink(ERRORS)
    twice = await bench.ask("POST", "sinks", ERRORS)
    patch = {"filter": "severity=INFO", "description": "all"}
    changed = await bench.ask("PATCH", "sinks/errors?updateMask=filter,description", patch)
    listed = await bench.ask("GET", "sinks")
    gone = await bench.ask("DELETE", "sinks/errors")
    missing = await bench.ask("GET", "sinks/errors")

    assert (made["writerIdentity"], twice.status_code) == (WRITER, 409)
    assert changed.json() == made | patch | {"updateTime": changed.json()["updateTime"]}
    assert [each["name"] for each in listed.json()["sinks"]] == ["_Default", "_Required", "errors"]
    assert (gone.status_code, missing.status_code) == (200, 404)


async def test_topic_gets_matching_entries_as_they_are_written(bench: SinkBench) -> None:
    exclusion = {"name": "noise", "filter": 'textPayload:"noise"'}
    bench.write("before", 500)
    await bench.make_sink(ERRORS | {"exclusions": [exclusion]})
    for text, severity in (("fine", 200), ("broken", 500), ("noise", 500)):
        bench.write(text, severity)

    assert bench.published() == ["broken"]
    topic, data, attributes = bench.topics.published[0]
    assert topic == TOPIC
    assert attributes == {"logging.googleapis.com/timestamp": json.loads(data)["timestamp"]}

    await bench.ask("PATCH", "sinks/errors?updateMask=disabled", {"disabled": True})
    bench.write("while disabled", 500)
    await bench.ask("PATCH", "sinks/errors?updateMask=disabled", {"disabled": False})
    assert bench.published() == ["broken"]


async def test_entries_written_while_stopped_are_carried_at_the_start(bench: SinkBench) -> None:
    await bench.make_sink(ERRORS)
    await bench.service.stop()
    bench.write("late", 500)
    bench.make()
    await bench.service.start()

    assert bench.published() == ["late"]


async def test_bucket_gets_an_object_for_each_hour_of_a_log(bench: SinkBench) -> None:
    await bench.make_sink(ARCHIVE)
    bench.write("one")
    bench.write("two")
    await bench.clock.turn(3600)
    bench.write("three")
    await bench.clock.turn(3600)

    texts = {
        name: [each["textPayload"] for each in lines] for name, lines in bench.objects.found.items()
    }
    assert texts == {
        "logs-archive/app/2027/01/15/08:00:00_08:59:59_S0.json": ["one", "two"],
        "logs-archive/app/2027/01/15/09:00:00_09:59:59_S0.json": ["three"],
    }


async def test_changed_sink_carried_what_came_before_the_change(bench: SinkBench) -> None:
    await bench.make_sink(ARCHIVE)
    path = "sinks/archive?uniqueWriterIdentity=true&updateMask=disabled"
    bench.write("first")
    await bench.ask("PATCH", path, {"disabled": True})
    bench.write("missed")
    await bench.ask("PATCH", path, {"disabled": False})
    bench.write("second")
    await bench.ask("PATCH", path.replace("disabled", "filter"), {"filter": "severity>=ERROR"})
    bench.write("third", 500)
    await bench.ask("DELETE", "sinks/archive")
    await bench.clock.turn(3600)

    carried = [[each["textPayload"] for each in lines] for lines in bench.objects.found.values()]
    assert carried == [["first"], ["second"], ["third"]]


async def test_concurrent_changes_of_sinks_carry_each_entry_once(
    bench: SinkBench,
) -> None:
    for name in ("archive", "gone"):
        await bench.make_sink({"name": name, "destination": f"{BUCKETS}{name}"})
    await bench.ask(
        "PATCH", "sinks/_Default?updateMask=destination", {"destination": f"{BUCKETS}default"}
    )
    path = "sinks/archive?uniqueWriterIdentity=true&updateMask="
    bench.write("first")
    turned = asyncio.create_task(bench.clock.turn(3600))
    await asyncio.gather(
        bench.ask("PATCH", f"{path}description", {"description": "kept"}),
        bench.ask("PATCH", f"{path}filter", {"filter": "severity>=ERROR"}),
        bench.ask("DELETE", "sinks/gone"),
        *(
            bench.ask("POST", "exclusions", {"name": name, "filter": "severity=DEBUG"})
            for name in ("one", "other")
        ),
    )
    await turned

    sink = (await bench.ask("GET", "sinks/archive")).json()
    assert (sink["description"], sink["filter"]) == ("kept", "severity>=ERROR")
    found = (await bench.ask("GET", "exclusions")).json()["exclusions"]
    assert [each["name"] for each in found] == ["one", "other"]
    carried = [(name.partition("/")[0], len(lines)) for name, lines in bench.objects.found.items()]
    assert sorted(carried) == [("archive", 1), ("default", 1), ("gone", 1)]


async def test_many_entries_of_an_hour_get_several_objects(
    bench: SinkBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MOST_SHARD", 1)
    await bench.make_sink(ARCHIVE)
    for number in range(51):  # one more than is read at once
        bench.write(str(number))
    await bench.clock.turn(3600)

    place = "logs-archive/app/2027/01/15/08:00:00_08:59:59"
    sizes = {name: len(lines) for name, lines in bench.objects.found.items()}
    assert sizes == {f"{place}_S0.json": 50, f"{place}_S1.json": 1}


async def test_late_entry_gets_an_object_of_its_own(bench: SinkBench) -> None:
    await bench.make_sink(ARCHIVE)
    bench.write("one")
    await bench.clock.turn(3600)
    bench.clock.lose(3000)
    bench.write("late")
    await bench.clock.turn(3600)

    assert [name.rpartition("_")[2][:2] for name in bench.objects.found] == ["S0", "A0"]


@pytest.mark.parametrize("sink", [ERRORS, ARCHIVE])
async def test_sink_without_rights_loses_its_entries_with_a_warning(
    bench: SinkBench, sink: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    await bench.make_sink(sink)
    bench.guard.denied = {"pubsub.topics.publish"}
    bench.objects.refusal = PermissionDenied("no")
    bench.write("lost", 500)
    await bench.clock.turn(3600)
    bench.guard.denied, bench.objects.refusal = set(), None
    bench.write("carried", 500)
    await bench.clock.turn(3600)

    texts = bench.published() + [
        each["textPayload"] for lines in bench.objects.found.values() for each in lines
    ]
    assert texts == ["carried"]
    assert f"Sink {sink['name']} cannot write to {sink['destination']}" in caplog.text


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"name": "a b"}, 400, "sink.name is 'a b'"),
        ({"destination": "ftp://x"}, 400, "sink.destination is 'ftp://x'"),
        ({"destination": "bigquery.googleapis.com/projects/p/datasets/d"}, 501, "BigQuery"),
        ({"destination": f"{LOGS}/buckets/none"}, 404, "create the log bucket first"),
        ({"destination": f"{LOGS}/buckets"}, 400, "must be formatted"),
        ({"destination": "logging.googleapis.com/projects/p"}, 501, "only their log buckets"),
        ({"filter": "severity>"}, 400, "severity"),
        ({"exclusions": [{"name": "x"}]}, 400, "sink.exclusions[0].filter is required"),
        ({"includeChildren": True}, 501, "sink.include_children is not emulated"),
        ({"surprise": 1}, 400, "surprise"),
    ],
)
async def test_invalid_sink_is_refused_by_name(
    bench: SinkBench, change: dict[str, Any], status: int, text: str
) -> None:
    answer = await bench.ask("POST", "sinks", ERRORS | change)

    assert (answer.status_code, text in answer.json()["error"]["message"]) == (status, True)


@pytest.mark.parametrize(
    ("verb", "name", "text"),
    [
        ("DELETE", "_Required", "Sink _Required cannot be deleted"),
        ("DELETE", "_Default", "Sink _Default cannot be deleted. Consider disabling instead"),
        ("PATCH", "_Required", "Sink _Required cannot be modified"),
    ],
)
async def test_sinks_of_every_project_cannot_be_deleted(
    bench: SinkBench, verb: str, name: str, text: str
) -> None:
    answer = await bench.ask(verb, f"sinks/{name}", {"disabled": True} if verb == "PATCH" else None)

    error = answer.json()["error"]
    assert (error["status"], error["message"]) == ("PERMISSION_DENIED", text)


async def test_entry_behind_a_deleted_log_is_carried(bench: SinkBench) -> None:
    await bench.make_sink(ERRORS)
    for text in ("one", "two"):
        bench.write(text, 500)
    await bench.ask("DELETE", "logs/app")
    bench.write("three", 500)
    await bench.ask("DELETE", "logs/app")
    bench.make()
    await bench.service.start()  # as after a restart
    bench.write("four", 500)

    assert bench.published() == ["one", "two", "three", "four"]
