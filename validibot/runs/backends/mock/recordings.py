"""What validators answered once. `python -m tests.recordings` records the shipped ones anew.

Each folder holds an `answer.json` and the artifacts that it names. Types that nobody recorded get
what stands under `other`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from validibot_shared.validations.envelopes import ValidationStatus

_FOLDER = Path(__file__).parent / "recordings"
_OTHER = ""


@dataclass(frozen=True, slots=True)
class Artifact:
    name: str
    type: str
    mime_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Recording:
    """The answer of a validator of one `type` to the file with this digest."""

    type: str
    sha256: str
    status: ValidationStatus
    messages: Sequence[Mapping[str, Any]]
    outputs: Mapping[str, Any]
    artifacts: Sequence[Artifact]


def of_file(kind: str, sha256: str) -> Recording | None:
    """Return what a validator answered to this very file."""
    return next((each for each in _all() if (each.type, each.sha256) == (kind, sha256)), None)


def usual(kind: str, status: ValidationStatus) -> Recording:
    """Return how validators of this type usually pass or fail: the first of their recordings."""
    return next(each for each in _of_type(kind) if each.status is status)


def messages(kind: str, severity: str) -> list[Mapping[str, Any]]:
    """Return all that validators of this type, or of any other, said with this severity."""
    said = [
        [note for each in of_type for note in each.messages if note["severity"] == severity]
        for of_type in (_of_type(kind), _of_type(_OTHER))
    ]
    return said[0] or said[1]


def _of_type(kind: str) -> list[Recording]:
    ours = [each for each in _all() if each.type == kind]
    return ours or [each for each in _all() if each.type == _OTHER]


@cache
def _all() -> tuple[Recording, ...]:
    return tuple(_read(path) for path in sorted(_FOLDER.glob("*/*/answer.json")))


def _read(path: Path) -> Recording:
    answer = json.loads(path.read_bytes())
    artifacts = tuple(
        Artifact(**artifact, content=(path.parent / artifact["name"]).read_bytes())
        for artifact in answer.pop("artifacts")
    )
    status = ValidationStatus(answer.pop("status"))
    return Recording(**answer, status=status, artifacts=artifacts)
