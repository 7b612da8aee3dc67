"""Scenarios of mocked validators, and the syntax in which clients select one.

A scenario is a name, or a name with an argument: `pass`, `fail(3)`, `slow(2.5)`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from django.core.exceptions import ValidationError

MAX_CHARACTERS = 60
_FORM = re.compile(r"([a-z_]+)(?:\(([0-9.]*)\))?")


class ScenarioError(ValueError):
    """The text is not a scenario; the message names the field, the text and the known scenarios."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """The number in the brackets of a scenario; `default` is used if there is none."""

    name: str
    default: float
    most: float
    whole: bool = False

    @property
    def rule(self) -> str:
        """The allowed values, for error messages."""
        kind = "a whole number" if self.whole else "a number"
        return f"{self.name} is {kind} from 0 to {self.most:g}"

    def read(self, text: str) -> float | None:
        """Return the number in `text`, or None if it is not allowed."""
        try:
            value = float(text)
        except ValueError:
            return None
        fits = value <= self.most and not (self.whole and value % 1)
        return value if fits else None


@dataclass(frozen=True, slots=True)
class Kind:
    """An entry of the catalogue: a scenario's name, description and parameter."""

    name: str
    sentence: str
    parameter: Parameter | None = None

    @property
    def form(self) -> str:
        return f"{self.name}({self.parameter.name})" if self.parameter else self.name


@dataclass(frozen=True, slots=True)
class Scenario:
    """A selected scenario; `argument` is None if the text has none."""

    kind: Kind
    argument: float | None = None

    @property
    def number(self) -> float:
        """The argument, or its default."""
        default = self.kind.parameter.default if self.kind.parameter else 0
        return default if self.argument is None else self.argument

    def __str__(self) -> str:
        return self.kind.name if self.argument is None else f"{self.kind.name}({self.argument:g})"


def _findings(default: int) -> Parameter:
    return Parameter("N", default=default, most=5000, whole=True)


def _seconds(default: float) -> Parameter:
    return Parameter("SECONDS", default=default, most=3600)


CATALOGUE: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("pass", "Passes, with the outputs and artifacts of a recorded run."),
        Kind(
            "fail",
            "Refuses the file, with the errors of a recorded run or N of them.",
            _findings(0),
        ),
        Kind("warnings", "Passes with N warnings.", _findings(3)),
        Kind("slow", "Passes after SECONDS.", _seconds(5)),
        Kind("crash", "Crashes: no output and no callback; the provider reports the end."),
        Kind("out_of_memory", "Is killed because it uses too much memory."),
        Kind("timeout", "Never ends; its time limit is reached after SECONDS.", _seconds(3)),
        Kind(
            "never_calls_back",
            "Ends without output or callback; reconciling detects it after SECONDS.",
            _seconds(3),
        ),
        Kind("calls_back_twice", "Passes, and posts its callback twice."),
        Kind("late", "Reaches its time limit after SECONDS, then calls back.", _seconds(3)),
        Kind("before_launch_returns", "Passes and calls back before the launch returns."),
        Kind("forged_nonce", "A callback with a wrong nonce comes first; then it passes."),
        Kind("wrong_run", "Calls back for another run, whose id is in its output, too."),
        Kind("malformed_output", "Its output is not an output envelope."),
        Kind("oversized_output", "Its output is larger than the limit."),
        Kind("cancelled", "Its run is cancelled after SECONDS, while it runs.", _seconds(1)),
    )
}


def parse(text: str, *, field: str = "scenario") -> Scenario:
    """Return the scenario that `text` selects; `field` is for the message. Raises ScenarioError."""
    match = _FORM.fullmatch(text)
    kind = CATALOGUE.get(match[1]) if match else None
    if match is None or kind is None:
        known = ", ".join(each.form for each in CATALOGUE.values())
        raise ScenarioError(f"{field}: {_shown(text)} is not a scenario. Choose one of {known}.")
    if not match[2]:
        return Scenario(kind)
    argument = kind.parameter.read(match[2]) if kind.parameter else None
    if argument is None:
        rule = kind.parameter.rule if kind.parameter else f"{kind.name} takes no argument"
        raise ScenarioError(f"{field}: {_shown(text)} is invalid: {rule}.")
    return Scenario(kind, argument)


def check_scenario(text: str) -> None:
    """Raise ValidationError if the text is not a scenario."""
    try:
        parse(text)
    except ScenarioError as error:
        raise ValidationError(str(error)) from None


def _shown(text: str) -> str:
    return repr(text[:MAX_CHARACTERS])
