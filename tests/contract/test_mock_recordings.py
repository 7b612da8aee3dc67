"""Recordings of the mock match the answers of the real validators."""

import json
from typing import Any

import pytest

from tests.recordings import SOURCES, TARGET, RecordingSource, record

_VOLATILE = "execution_seconds"


def rounded(value: Any) -> Any:
    """Return a value without its last digits, which differ between machines."""
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {name: rounded(each) for name, each in value.items() if name != _VOLATILE}
        case list():
            return [rounded(each) for each in value]
    return value


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: f"{source.validator}/{source.name}")
def test_recording_matches_real_answer(source: RecordingSource) -> None:
    recorded = json.loads((source.folder / "answer.json").read_bytes())

    answer, files = record(source)

    again = "python -m tests.recordings records anew"
    assert rounded(answer) == rounded(recorded), again
    assert {path.name for path in source.folder.iterdir()} == {"answer.json", *files}, again


def test_every_recording_has_a_source() -> None:
    folders = {path.parent for path in TARGET.glob("*/*/answer.json")} - {
        path.parent for path in TARGET.glob("other/*/answer.json")
    }

    assert folders == {source.folder for source in SOURCES}
