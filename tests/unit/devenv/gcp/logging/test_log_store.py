"""Log entries on disk."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.logging.entry_store import EntryQuery, LogStore
from devenv.gcp.logging.entry_view import EntryView, LogEntry
from devenv.gcp.logging.filters import parse_filter
from devenv.gcp.messages import set_moment
from tests.unit.devenv.gcp.fakes import MemoryStore

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0


def entry(text: str, *, at: float = NOW, insert_id: str = "") -> Any:
    made = LogEntry(log_name="projects/p/logs/l", text_payload=text, insert_id=insert_id or text)
    set_moment(made.timestamp, at)
    return made


def query(
    text: str = "", *, token: str = "", size: int = 50, descending: bool = False
) -> EntryQuery:
    test = parse_filter(text)
    return EntryQuery(test=test, descending=descending, size=size, token=token, of=text)


async def texts(store: LogStore, wanted: EntryQuery | None = None) -> list[str]:
    entries, _ = await store.find(wanted or query())
    return [each.text_payload for each in entries]


async def test_entries_are_listed_by_time_and_insert_id() -> None:
    store = LogStore(MemoryStore())
    store.add([entry("b"), entry("c", at=NOW - 1), entry("a")], now=NOW)

    assert await texts(store) == ["c", "a", "b"]
    assert await texts(store, query(descending=True)) == ["b", "a", "c"]


async def test_same_log_time_and_insert_id_is_kept_once() -> None:
    store = LogStore(MemoryStore())
    told: list[Any] = []
    store.listeners.add(told.extend)
    for text in ("first", "second"):
        store.add([entry(text, insert_id="same")], now=NOW)

    assert await texts(store) == ["first"]
    assert [each.text_payload for each, _ in told] == ["first"]


@pytest.mark.parametrize("descending", [False, True])
async def test_pages_have_every_matching_entry_once(*, descending: bool) -> None:
    store = LogStore(MemoryStore())
    store.add([entry(f"{number:04}", at=NOW + number % 7) for number in range(1300)], now=NOW)
    wanted, found, token = "textPayload=~'[05]$'", [], ""
    while True:
        page, token = await store.find(query(wanted, token=token, size=100, descending=descending))
        found += [each.text_payload for each in page]
        if not token:
            break

    assert sorted(found) == [f"{number:04}" for number in range(0, 1300, 5)]


async def test_page_token_of_another_query_is_refused() -> None:
    store = LogStore(MemoryStore())
    store.add([entry("a"), entry("b")], now=NOW)
    _, token = await store.find(query(size=1))

    for wanted in (query("a", token=token), query(token="x"), query(token="eA==")):
        with pytest.raises(InvalidArgument, match="page_token"):
            await store.find(wanted)


async def test_entries_that_were_not_kept_do_not_count() -> None:
    store = LogStore(MemoryStore(), most_entries=2)

    def broken() -> Iterator[Any]:
        yield entry("lost")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        store.add(broken(), now=NOW)
    store.add([entry("a"), entry("b")], now=NOW)

    assert sorted(await texts(store, query())) == ["a", "b"]


async def test_oldest_entries_go_beyond_the_limits() -> None:
    store = LogStore(MemoryStore(), most_entries=10)
    for number in range(200):
        store.add([entry(f"{number:03}", at=NOW + number)], now=NOW)
    small = LogStore(MemoryStore(), most_bytes=5000)
    for number in range(200):
        small.add([entry(f"{number:0100}", at=NOW + number)], now=NOW)

    kept = await texts(store, query(size=1000))
    assert kept[-1] == "199"
    assert len(kept) == 10
    kept = await texts(small, query(size=1000))
    assert kept[-1].endswith("199")
    assert 10 < len(kept) < 30


async def test_entries_end_after_thirty_days() -> None:
    store = LogStore(MemoryStore())
    store.add([entry("old"), entry("new", at=NOW + 86_400)], now=NOW)
    store.add([entry("last", at=NOW + 30.5 * 86_400)], now=NOW + 30.5 * 86_400)

    assert await texts(store) == ["new", "last"]


async def test_deleted_log_has_no_entries_after_reopening() -> None:
    disk = MemoryStore()
    store = LogStore(disk)
    store.add([entry("a")], now=NOW)
    again = LogStore(disk)

    assert again.logs() == ["projects/p/logs/l"]
    assert again.delete("projects/p/logs/l")
    assert not again.delete("projects/p/logs/l")
    assert await texts(again) == []


async def test_page_up_to_a_position_leaves_out_later_entries() -> None:
    store = LogStore(MemoryStore())
    store.add([entry("first")], now=NOW)
    position = store.position()
    store.add([entry("second", at=NOW - 1), entry("third")], now=NOW)
    late, last = store.written_after(position, parse_filter("textPayload:d"))

    assert await texts(store, replace(query(), upto=position)) == ["first"]
    assert [each.text_payload for each in late] == ["second", "third"]
    assert store.written_after(last, parse_filter("")) == ([], last)


def test_position_after_deletion_follows_new_entries() -> None:
    store = LogStore(MemoryStore())
    store.add([entry("first"), entry("second")], now=NOW)
    before = store.position()
    store.delete("projects/p/logs/l")
    nothing, position = store.written_after(before, parse_filter(""))
    store.add([entry("third")], now=NOW)

    assert nothing == []
    assert [each.text_payload for each in store.written_after(position, parse_filter(""))[0]] == [
        "third"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "jsonPayload.message:nothing",
        'resource.type="cloud_run_revision"',
        'SEARCH("nothing here")',
        "labels.name=nobody AND a",
    ],
)
async def test_entries_without_the_text_are_not_parsed(text: str) -> None:
    parsed: list[bytes] = []
    store = LogStore(MemoryStore())
    store.add([entry("a"), entry("b")], now=NOW)
    wanted = query(text)

    def test(view: EntryView) -> bool:
        passes = wanted.test(view)
        parsed.extend([b""] if "entry" in view.__dict__ else [])
        return passes

    assert await texts(store, replace(wanted, test=test)) == []
    assert not parsed


async def test_search_gives_way_to_others_all_the_time() -> None:
    store = LogStore(MemoryStore())
    store.add([entry(f"{number:04}") for number in range(1000)], now=NOW)
    largest = entry("x" * 100_000, insert_id="b")
    store.add([largest, *(entry("y" * 100_000, insert_id=each) for each in "cd")], now=NOW)
    tested, slices = [0], [0]

    def test(_view: EntryView) -> bool:
        tested[0] += 1
        return False

    search = asyncio.create_task(texts(store, replace(query(), test=test)))
    while not search.done():
        before = tested[0]
        await asyncio.sleep(0)
        slices.append(tested[0] - before)

    assert sum(slices) == tested[0] == 1003
    assert max(slices) == 50
    assert slices[-4:] == [1, 1, 1, 0]
