"""Which scenario a mocked validator plays: the first that anybody asked for.

Asked are, in this order: the run or the step (one field of the request), the submitted text, its
file name (`model.fail-3.idf` asks for fail(3)), the setting. Where nobody asks, a file that was
recorded ends as it did then; of others those fail that have "fail" or "crash" in their name.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath

from validibot_shared.validations.envelopes import InputFileItem, ValidationStatus

from validibot.core.storage import get_storage
from validibot.runs.backends.mock.answers import Question, known
from validibot.workflows.scenarios import CATALOGUE, Scenario, parse

# How far into a file a marker is looked for.
MARKER_BYTES = 64 * 1024
SETTING = "MOCK_SCENARIO"
_MARKER = re.compile(rb"validibot:scenario=([a-z_]+(?:\([^)\s]{0,20}\))?)")
_PART = re.compile(r"([a-z_]+)(?:-([0-9]+))?")
_PARTS = 20
_FAILING = ("fail", "crash")


def choose(asked: str, file: InputFileItem | None, setting: str) -> Scenario | None:
    """Return the scenario that is asked for, if any. Raises ScenarioError, StorageError."""
    for field, text in _places(asked, file, setting):
        if text:
            return parse(text, field=field)
    return None


def unasked(question: Question, filename: str) -> Scenario:
    """Return what is played where nobody asks."""
    answer = known(question)
    if answer:
        fails = answer.status is not ValidationStatus.SUCCESS
    else:
        fails = any(mark in filename.lower() for mark in _FAILING)
    return parse("fail" if fails else "pass")


def _places(asked: str, file: InputFileItem | None, setting: str) -> Iterator[tuple[str, str]]:
    """Yield where a scenario may stand and what stands there; a file is read only if it must be."""
    yield "scenario", asked
    if file:
        yield "the marker in the file", _marker(file.uri)
        yield "the file name", _in_name(file.name.lower())
    yield SETTING, setting


def _marker(uri: str) -> str:
    head = b""
    for chunk in get_storage(uri).stream(uri):
        head += chunk
        if len(head) >= MARKER_BYTES:
            break
    match = _MARKER.search(head[:MARKER_BYTES])
    return match[1].decode(errors="replace") if match else ""


def _in_name(name: str) -> str:
    for part in islice(PurePosixPath(name).suffixes, _PARTS):
        match = _PART.fullmatch(part[1:])
        if match and match[1] in CATALOGUE:
            return f"{match[1]}({match[2]})" if match[2] else match[1]
    return ""
