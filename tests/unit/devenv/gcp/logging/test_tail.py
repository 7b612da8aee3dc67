"""Live tailing: windows, sources, limits, and what becomes of a client that leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from devenv.gcp.caller import ApiCall, ApiCaller
from devenv.gcp.errors import CloudError, InvalidArgument, NotFound, ResourceExhausted
from devenv.gcp.logging import tail
from devenv.gcp.logging.entries import complete, new_resource
from devenv.gcp.logging.entry_view import LogEntry
from devenv.gcp.messages import set_moment
from devenv.gcp.rpc import StreamRpc
from tests.unit.devenv.gcp.fakes import settle
from tests.unit.devenv.gcp.logging.test_sinks import ERRORS, LOGS, SinkBench, bench

__all__ = ["bench"]
pytestmark = pytest.mark.anyio

CALL = ApiCall(ApiCaller("web@p.iam.gserviceaccount.com"))
VIEW = "projects/p/locations/global/buckets/{}/views/_AllLogs"
REASONS = tail.types.TailLogEntriesResponse.SuppressionInfo.Reason


class TailReader:
    """A client that reads all the time; `got` has the texts of each answer."""

    def __init__(
        self, bench: SinkBench, *names: str, wanted: str = "", window: float | None = None
    ) -> None:
        self.bench = bench
        self.request = tail.Request(resource_names=names or ["projects/p"], filter=wanted)
        if window is not None:
            self.request.buffer_window.FromMilliseconds(int(window * 1000))
        self.got: list[list[str]] = []
        self.missed: list[tuple[Any, int]] = []

    async def start(self) -> "TailReader":
        [rpc] = [each for each in self.bench.logging.rpcs() if isinstance(each, StreamRpc)]
        self.answers: Any = rpc.handle(self._requests(), CALL)
        self.task = asyncio.create_task(self._read())
        await settle()
        return self

    async def leave(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        await self.answers.aclose()

    async def _requests(self) -> AsyncIterator[Any]:
        yield self.request

    async def _read(self) -> None:
        async for answer in self.answers:
            self.got.append([each.text_payload for each in answer.entries])
            self.missed += [
                (each.reason, each.suppressed_count) for each in answer.suppression_info
            ]


async def write(bench: SinkBench, *texts: str, log: str = "app", level: int = 0) -> None:
    """Write entries, each a second older than the one before it."""
    entries = []
    for age, text in enumerate(texts):
        entry = LogEntry(
            log_name=f"projects/p/logs/{log}",
            resource=new_resource("global"),
            text_payload=text,
            severity=level,
        )
        set_moment(entry.timestamp, bench.clock.now() - age)
        complete(entry, "projects/p", now=bench.clock.now())
        entries.append(entry)
    bench.entries.add(entries, now=bench.clock.now())
    await settle()  # the readers begin their windows


async def test_tail_orders_the_entries_of_a_window(bench: SinkBench) -> None:
    reader = await TailReader(bench).start()
    await write(bench, "c", "b")
    await bench.clock.turn(1)
    await write(bench, "d")
    await bench.clock.turn(0.9)
    assert reader.got == []

    await bench.clock.turn(0.1)
    await write(bench, "e")
    await bench.clock.turn(2)

    assert reader.got == [["b", "c", "d"], ["e"]]
    await reader.leave()


async def test_tail_has_what_its_source_and_its_filter_show(bench: SinkBench) -> None:
    await bench.ask("POST", "locations/global/buckets?bucketId=audit", {})
    await bench.make_sink(ERRORS | {"destination": f"{LOGS}/buckets/audit"})
    readers = [
        await TailReader(bench, *names, wanted=wanted, window=0).start()
        for names, wanted in (
            (("projects/p", "projects/123"), ""),
            (("projects/p",), "severity>=ERROR AND NOT worse"),
            ((VIEW.format("audit"),), ""),
            ((VIEW.format("_Required"),), ""),
        )
    ]
    await write(bench, "fine")
    await write(bench, "bad", level=500)
    await write(bench, "worse", level=600)
    await write(bench, "done", log="cloudaudit.googleapis.com%2Factivity")
    await bench.clock.turn(1)

    got = [sorted(text for texts in each.got for text in texts) for each in readers]
    assert got == [["bad", "done", "fine", "worse"], ["bad"], ["bad", "worse"], ["done"]]
    for each in readers:
        await each.leave()


async def test_tail_tells_what_a_client_has_missed(
    bench: SinkBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "_MOST_WAITING", 2)
    monkeypatch.setattr(tail, "_MOST_OF_MINUTE", 5)
    reader = await TailReader(bench).start()
    await write(bench, "c", "b", "a")
    await bench.clock.turn(2)
    await write(bench, "f", "e", "d")
    await bench.clock.turn(60)
    await write(bench, "g")
    await bench.clock.turn(2)

    assert reader.got == [["b", "c"], ["e", "f"], ["g"]]
    assert reader.missed == [(REASONS.NOT_CONSUMED, 1), (REASONS.RATE_LIMIT, 1)]
    await reader.leave()


async def test_session_that_has_left_makes_room_for_another(bench: SinkBench) -> None:
    readers = [await TailReader(bench).start() for _ in range(10)]
    refused = await TailReader(bench).start()
    with pytest.raises(ResourceExhausted, match="at most 10 live tailing sessions"):
        await refused.task

    await readers[0].leave()
    readers[0] = await TailReader(bench).start()

    assert len(bench.entries.listeners) == 11  # the exports, too
    for each in readers:
        await each.leave()
    assert len(bench.entries.listeners) == 1  # the exports


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"window": 60.1}, InvalidArgument, "buffer_window must be between 0 and 60 seconds"),
        ({"window": -1.0}, InvalidArgument, "buffer_window"),
        ({"wanted": "severity>="}, InvalidArgument, "position 10"),
        ({"names": ["folders/1"]}, CloudError, "Logs of folders are not emulated"),
        ({"names": ["projects/other"]}, CloudError, "other"),
        ({"names": [VIEW.format("none")]}, NotFound, "does not exist"),
        ({"names": ["projects/p", VIEW.format("_Default")]}, CloudError, "ask for each alone"),
    ],
)
async def test_wrong_tail_is_refused(
    bench: SinkBench, fields: dict[str, Any], error: type[CloudError], text: str
) -> None:
    reader = await TailReader(bench, *fields.pop("names", []), **fields).start()

    with pytest.raises(error, match=text):
        await reader.task
    assert len(bench.entries.listeners) == 1  # the exports


async def test_tail_needs_the_right_to_read(bench: SinkBench) -> None:
    for names, permission in (
        (["projects/p"], "logging.logEntries.list"),
        ([VIEW.format("_Default")], "logging.views.access"),
    ):
        bench.guard.denied = {permission}
        reader = await TailReader(bench, *names).start()
        with pytest.raises(CloudError, match=permission):
            await reader.task
