"""The journal: entries, filters, pages, bounds, and methods that are not emulated."""

import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from devenv.gcp.clock import ManualClock
from devenv.gcp.journal import UNKNOWN, Journal, note_decision, trace_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite3", ManualClock())
    yield journal
    journal.close()


def note(journal: Journal, method: str, caller: str = "web@p", decision: str = "") -> None:
    with journal.entry(method) as entry:
        entry.caller, entry.status, entry.decision = caller, "OK", decision


async def test_entry_has_decision_and_duration(journal: Journal) -> None:
    with journal.entry("run.Jobs.RunJob", "as/written") as entry:
        entry.caller, entry.status = "web@p", "OK"
        note_decision("run.jobs.run", "projects/p/jobs/j", allowed=True)

    [row] = journal.rows({})
    assert row["at"] == ManualClock().now()
    assert (row["permission"], row["decision"]) == ("run.jobs.run", "allowed")
    assert row["resource"] == "as/written"
    assert row["milliseconds"] >= 0


async def test_refusal_is_the_decision_that_stays(journal: Journal) -> None:
    with journal.entry("run.Jobs.RunJob"):
        note_decision("run.jobs.run", "j", allowed=False)
        note_decision("run.jobs.get", "j", allowed=True)

    [row] = journal.rows({"decision": "denied"})
    assert row["permission"] == "run.jobs.run"


def test_decision_outside_of_a_call_is_not_recorded() -> None:
    note_decision("run.jobs.run", "j", allowed=True)


async def test_rows_are_filtered_and_newest_first(journal: Journal) -> None:
    for method in ("run.Jobs.RunJob", "run.Jobs.GetJob", "storage.objects.get"):
        note(journal, method)

    assert [row["method"] for row in journal.rows({"method": "run.*"})] == [
        "run.Jobs.GetJob",
        "run.Jobs.RunJob",
    ]
    with journal.entry("storage.objects.insert") as entry:
        entry.fault, entry.trace = "7", "ab" * 16
    for name in ("fault", "trace"):
        assert [row["fault"] for row in journal.rows({name: "*"})] == ["7"]
    assert len(journal.rows({"resource": "*"})) == 4
    assert not journal.rows({"method": "run.*", "caller": "worker@*"})


async def test_rows_come_in_pages(journal: Journal) -> None:
    for number in range(5):
        note(journal, f"m{number}")

    first = journal.rows({}, limit=2)
    second = journal.rows({}, limit=2, before=first[-1]["id"])

    assert [row["method"] for row in (*first, *second)] == ["m4", "m3", "m2", "m1"]


async def test_oldest_rows_are_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite3", ManualClock(), kept=2)
    for method in ("first", "second", "third"):
        note(journal, method)
        journal.flush()

    assert [row["method"] for row in journal.rows({})] == ["third", "second"]
    journal.close()


async def test_rows_that_cannot_be_written_do_not_stop_the_next(journal: Journal) -> None:
    with journal.entry("lost") as entry:
        entry.trace = object()  # type: ignore[assignment]  # stands for a full disk
    with pytest.raises(sqlite3.Error):
        journal.flush()
    note(journal, "kept")
    assert [row["method"] for row in journal.rows({})] == ["kept"]


async def test_text_of_millions_of_characters_is_cut(journal: Journal) -> None:
    with journal.entry("read") as entry:
        entry.resource = "x" * 1_000_000

    assert [len(row["resource"]) for row in journal.rows({})] == [8192]


async def test_line_break_in_a_method_makes_no_second_line(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "devenv.gcp.requests"):
        note(journal, "storage GET /a\nrun.Jobs.RunJob web OK")
        journal.flush()
    assert caplog.messages[0].startswith("storage GET /a\\nrun")
    assert len(caplog.messages[0].splitlines()) == 1


async def test_methods_that_are_not_emulated_are_counted(journal: Journal) -> None:
    for caller in ("web@p", "worker@p", "web@p"):
        note(journal, "pubsub.Publisher.Publish", caller, UNKNOWN)
    note(journal, "run.Jobs.RunJob")

    assert journal.missing() == [
        {"method": "pubsub.Publisher.Publish", "calls": 3, "callers": ["web@p", "worker@p"]}
    ]


async def test_rows_survive_a_restart(journal: Journal, tmp_path: Path) -> None:
    note(journal, "before")
    journal.flush()

    again = Journal(tmp_path / "journal.sqlite3", ManualClock())
    found = again.rows({})
    again.close()

    assert [row["method"] for row in found] == ["before"]


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ({"traceparent": f"00-{'AB' * 16}-{'1' * 16}-01"}, "ab" * 16),
        ({"x-cloud-trace-context": f"{'c' * 32}/123;o=1"}, "c" * 32),
        ({"traceparent": f"00-{'0' * 32}-{'1' * 16}-01"}, ""),
        ({"traceparent": "nonsense"}, ""),
        ({"grpc-trace-bin": b64encode(b"\0\0" + b"\xab" * 16).decode().rstrip("=")}, "ab" * 16),
        ({"grpc-trace-bin": "?"}, ""),
        ({"grpc-trace-bin": b64encode(b"\0\0" + b"\xab" * 15).decode()}, ""),
        ({"traceparent": "00-xyz-1-01"}, ""),
        ({}, ""),
    ],
)
def test_trace_id_is_read_from_both_headers(headers: dict[str, str], trace: str) -> None:
    assert trace_of(headers) == trace


def test_journal_file_of_another_version_is_replaced(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "journal.sqlite3")
    old.execute("CREATE TABLE calls (id INTEGER PRIMARY KEY, at, method)")
    old.close()

    journal = Journal(tmp_path / "journal.sqlite3", ManualClock())
    assert journal.rows({}) == []
    journal.close()
