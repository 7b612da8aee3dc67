"""What a mocked validator answers to a file: its recording, or one that is varied by the file.

The digest of the file seeds the variation: the same file has the same answer, another has another.
"""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

from validibot_shared.validations.envelopes import ValidationStatus

from validibot.runs.backends.mock import recordings
from validibot.runs.backends.mock.recordings import Recording

# By how much outputs of these names differ from file to file. What a seeded workflow holds against
# a narrow target hardly does.
_SPREADS = {
    re.compile(r".*_(kwh|kwh_m2|w)|execution_seconds"): 0.08,
    re.compile(r"score"): 0.03,
    re.compile(r"output_values\..*"): 0.0005,
}
_LINES = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a validator is asked: a file of `sha256`, and the step's `inputs`."""

    type: str
    sha256: str
    inputs: Mapping[str, Any]

    @property
    def dice(self) -> random.Random:
        return random.Random(self.sha256)  # noqa: S311 - must be the same every time


def known(question: Question) -> Recording | None:
    """Return the answer to a file that was recorded."""
    return recordings.of_file(question.type, question.sha256)


def passing(question: Question, *, warnings: int = 0) -> Recording:
    """Return a success, with so many warnings or with those that were recorded."""
    answer = _answer(question, ValidationStatus.SUCCESS)
    if "simulation_time_reached" in answer.outputs:
        answer = replace(answer, outputs={**answer.outputs, **_simulated(answer, question)})
    return _saying(answer, question, "WARNING", warnings)


def failing(question: Question, *, errors: int = 0) -> Recording:
    """Return a refusal, with so many errors or with those that were recorded."""
    answer = _answer(question, ValidationStatus.FAILED_VALIDATION)
    return _saying(answer, question, "ERROR", errors)


def _answer(question: Question, status: ValidationStatus) -> Recording:
    answer = known(question)
    if answer and answer.status is status:
        return answer
    return _varied(recordings.usual(question.type, status), question)


def _saying(answer: Recording, question: Question, severity: str, count: int) -> Recording:
    """Replace the messages by `count` others, and the outputs that count them; 0 leaves them."""
    if not count:
        return answer
    said = _messages(question, severity, count)
    told = {
        f"{word}_count": sum(note["code"].endswith(f"_{word.upper()}") for note in said)
        for word in ("warning", "severe", "fatal")
    }
    outputs = {name: told.get(name, value) for name, value in answer.outputs.items()}
    return replace(answer, messages=said, outputs=outputs)


def _messages(question: Question, severity: str, count: int) -> list[dict[str, Any]]:
    """Take what was said with this severity, over and over, each time at another line."""
    said = cycle(recordings.messages(question.type, severity))
    lines = question.dice.sample(range(1, max(_LINES, count) + 1), count)
    return [
        {**note, "location": {"line": line}}
        for note, line in zip(islice(said, count), sorted(lines), strict=True)
    ]


def _varied(answer: Recording, question: Question) -> Recording:
    dice = question.dice
    factors = {names: 1 + dice.uniform(-spread, spread) for names, spread in _SPREADS.items()}
    return replace(answer, outputs=_scaled(answer.outputs, factors))


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


def _simulated(answer: Recording, question: Question) -> dict[str, Any]:
    """Simulate as long, and put out the variables, as the step wants."""
    dice, values = question.dice, answer.outputs["output_values"]
    wanted = question.inputs.get("output_variables") or values
    return {
        "simulation_time_reached": question.inputs["simulation"]["stop_time"],
        "output_values": {name: values.get(name, round(dice.random(), 4)) for name in wanted},
    }
