"""Recorded answers of validators, and answers derived from them for files that nobody recorded.

Each folder of `recordings` holds an `answer.json` and the artifacts that it names; types without a
recording use `other`. `python -m tests.recordings` records the shipped ones again. The digest of a
file seeds the variation: the same file always has the same answer, another file another one.
"""

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from validibot_shared.validations.envelopes import ValidationStatus

_FOLDER = Path(__file__).parent / "recordings"
_OTHER = ""
# Relative variation of outputs, by name. Outputs that a workflow of the gallery compares with a narrow
# target vary little.
_SPREADS = {
    re.compile(r".*_(kwh|kwh_m2|w)|execution_seconds"): 0.08,
    re.compile(r"score"): 0.03,
    re.compile(r"output_values\..*"): 0.0005,
}
_SUFFIXES = {"kWh": "kwh", "kWh/m²": "kwh_m2", "W": "w"}
_LINES = 400


@dataclass(frozen=True, slots=True)
class RecordedArtifact:
    """Artifact of a recording."""

    name: str
    type: str
    mime_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Recording:
    """Answer of a validator of one `type` to the file with this digest."""

    type: str
    sha256: str
    status: ValidationStatus
    messages: Sequence[Mapping[str, Any]]
    outputs: Mapping[str, Any]
    artifacts: Sequence[RecordedArtifact]
    metrics: Sequence[Mapping[str, Any]] = ()


def of_file(kind: str, sha256: str) -> Recording | None:
    """Return the answer that was recorded for this file, if any."""
    return next((each for each in _all() if (each.type, each.sha256) == (kind, sha256)), None)


def usual(kind: str, status: ValidationStatus) -> Recording:
    """Return the first recording of this type with this status."""
    return next(each for each in _of_type(kind) if each.status is status)


def messages(kind: str, severity: str) -> list[Mapping[str, Any]]:
    """Return all recorded messages of this severity, of this type or else of `other`."""
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
        RecordedArtifact(**artifact, content=(path.parent / artifact["name"]).read_bytes())
        for artifact in answer.pop("artifacts")
    )
    status = ValidationStatus(answer.pop("status"))
    return Recording(**answer, status=status, artifacts=artifacts)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerRequest:
    """Input of an answer: the type of validator, the digest of the file, the step's `inputs`."""

    type: str
    sha256: str
    inputs: Mapping[str, Any]

    @property
    def rng(self) -> random.Random:
        return random.Random(self.sha256)  # noqa: S311 - must be the same every time


def known(request: AnswerRequest) -> Recording | None:
    """Return the answer that was recorded for the file, if any."""
    return of_file(request.type, request.sha256)


def passing(request: AnswerRequest, *, warnings: int = 0) -> Recording:
    """Return a success, with `warnings` warnings or with the recorded ones."""
    answer = _answer(request, ValidationStatus.SUCCESS)
    if "simulation_time_reached" in answer.outputs:
        answer = replace(answer, outputs={**answer.outputs, **_simulated(answer, request)})
    return _with_messages(answer, request, "WARNING", warnings)


def failing(request: AnswerRequest, *, errors: int = 0) -> Recording:
    """Return a failed validation, with `errors` errors or with the recorded ones."""
    answer = _answer(request, ValidationStatus.FAILED_VALIDATION)
    return _with_messages(answer, request, "ERROR", errors)


def _answer(request: AnswerRequest, status: ValidationStatus) -> Recording:
    answer = known(request)
    if answer and answer.status is status:
        return answer
    return _varied(usual(request.type, status), request)


def _with_messages(
    answer: Recording, request: AnswerRequest, severity: str, count: int
) -> Recording:
    """Replace the messages by `count` others and adjust the outputs that count them; 0 keeps them."""
    if not count:
        return answer
    chosen = _messages(request, severity, count)
    counts = {
        f"{word}_count": sum(note["code"].endswith(f"_{word.upper()}") for note in chosen)
        for word in ("warning", "severe", "fatal")
    }
    outputs = {name: counts.get(name, value) for name, value in answer.outputs.items()}
    return replace(answer, messages=chosen, outputs=outputs)


def _messages(request: AnswerRequest, severity: str, count: int) -> list[dict[str, Any]]:
    """Return `count` messages of this severity, recorded ones in turn, each at another line."""
    chosen = cycle(messages(request.type, severity))
    lines = request.rng.sample(range(1, max(_LINES, count) + 1), count)
    return [
        {**note, "location": {"line": line}}
        for note, line in zip(islice(chosen, count), sorted(lines), strict=True)
    ]


def _varied(answer: Recording, request: AnswerRequest) -> Recording:
    rng = request.rng
    factors = {names: 1 + rng.uniform(-spread, spread) for names, spread in _SPREADS.items()}
    metrics = [_scaled_metric(metric, factors) for metric in answer.metrics]
    return replace(answer, outputs=_scaled(answer.outputs, factors), metrics=metrics)


def _scaled_metric(
    metric: Mapping[str, Any], factors: Mapping["re.Pattern[str]", float]
) -> Mapping[str, Any]:
    """Vary a metric as an output of its unit varies, so that both stay consistent."""
    if metric.get("unit") not in _SUFFIXES:
        return metric
    name = f"value_{_SUFFIXES[metric['unit']]}"
    return {**metric, "value": _scaled({name: metric["value"]}, factors)[name]}


def _scaled(
    values: Mapping[str, Any], factors: Mapping["re.Pattern[str]", float], path: str = ""
) -> dict[str, Any]:
    scaled: dict[str, Any] = {}
    for name, value in values.items():
        factor = next((f for names, f in factors.items() if names.fullmatch(path + name)), None)
        if isinstance(value, dict):
            scaled[name] = _scaled(value, factors, f"{path}{name}.")
        else:
            scaled[name] = round(value * factor, 4) if factor else value
    return scaled


def _simulated(answer: Recording, request: AnswerRequest) -> dict[str, Any]:
    """Return the outputs of a simulation with the step's stop time and output variables."""
    rng, values = request.rng, answer.outputs["output_values"]
    wanted = request.inputs.get("output_variables") or values
    return {
        "simulation_time_reached": request.inputs["simulation"]["stop_time"],
        "output_values": {name: values.get(name, round(rng.random(), 4)) for name in wanted},
    }
