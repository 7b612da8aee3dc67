"""Log filters over 10,000 entries whose `jsonPayload` has 6 leaves."""

import time
from collections.abc import Iterator
from typing import Any

from google.protobuf.json_format import ParseDict

from devenv.gcp.logging.entry_view import EntryView, LogEntry
from devenv.gcp.logging.filters import parse_filter

ENTRIES, ROUNDS = 10_000, 3
FILTERS = (
    # Name, filter, and how many entries pass.
    ("a word that is only a key", "request", 0),
    ("digits", "4711", 1),
    ("`NOT` a word", "NOT ann", 0),
    ("`NOT` a field", 'NOT jsonPayload.user="ann"', 0),
    ("a pattern", 'jsonPayload.message=~"run 47.1"', 10),
)


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield the least processor time of each filter."""
    values = [_entry(number).SerializeToString() for number in range(ENTRIES)]
    for name, text, passing in FILTERS:
        spent = min(_seconds(text, values, passing) for _ in range(ROUNDS))
        row = f"processor time of a log filter over {ENTRIES:,} entries, {name}"
        yield row, f"{spent * 1000:.0f} ms", "≤ 100 ms"


def _seconds(text: str, values: list[bytes], passing: int) -> float:
    passes = parse_filter(text)
    began = time.process_time()
    found = sum(passes(EntryView(value=value)) for value in values)
    spent = time.process_time() - began
    if found != passing:
        raise RuntimeError(f"{text}: {found} entries pass, not {passing}")
    return spent


def _entry(number: int) -> Any:
    labels = {"job_name": "j", "location": "us-west1", "project_id": "p"}
    context = {"request": f"r{number}", "ms": number % 700, "ok": True}
    return ParseDict(
        {
            "logName": "projects/p/logs/run.googleapis.com%2Fstdout",
            "insertId": f"id{number}",
            "timestamp": "2026-11-28T12:00:00.5Z",
            "severity": "INFO",
            "resource": {"type": "cloud_run_job", "labels": labels},
            "jsonPayload": {"message": f"run {number} done", "user": "ann", "context": context},
        },
        LogEntry(),
    )
