"""Words and figures for the verdict, durations and outputs of a run, on pages and in reports."""

import re
from typing import Any

from django.utils.translation import gettext, gettext_lazy

from validibot.core.words import word_of
from validibot.runs.models import Run

_SENTENCES = {
    "PENDING": gettext_lazy("The run waits for a worker."),
    "HELD": gettext_lazy("The run waits for another run to end."),
    "RUNNING": gettext_lazy("This page updates automatically."),
    "PASS": gettext_lazy("The file passes every step."),
    "FAIL": gettext_lazy("The file does not satisfy the workflow."),
    "ERROR": gettext_lazy(
        "The validation could not be finished. This says nothing about the file."
    ),
    "CANCELED": gettext_lazy("The run was cancelled before its end."),
    "TIMED_OUT": gettext_lazy("The validation exceeded its time limit."),
}

_SIGNS = {
    "degC": "°C",
    "degF": "°F",
    "deltaC": "K",
    "deg": "°",
    "ohm": "Ω",
    "Ohm": "Ω",
    "um": "µm",
    "hr": "h",
}
# Not of formulas that people write into units: kgCO2/m2, kgCH4.
_EXPONENT = re.compile(r"(?<=[A-Za-z])(?<!O)(?<!CH)(-?[0-9])\b")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def verdict(run: Run) -> str:
    """Return the state or result of the run as a word."""
    return word_of(_code(run))


def verdict_sentence(run: Run) -> str:
    """Return the sentence under the verdict: the run's own error or success message, if any."""
    own_words = run.error if run.result in ("ERROR", "TIMED_OUT", "CANCELED") else ""
    return own_words or public_sentence(run)


def public_sentence(run: Run) -> str:
    """Return the sentence under the verdict without the run's own error.

    An error may name people, addresses of storage, and other things of the organisation.
    """
    if run.result == "PASS" and run.workflow.success_message:
        return run.workflow.success_message
    return str(_SENTENCES[_code(run)])


def duration(total: float) -> str:
    """Return seconds for people: `0.08 s`, `1:05 min`."""
    if total < 60:
        return f"{total:.2f} s"
    minutes, rest = divmod(round(total), 60)
    return f"{minutes}:{rest:02d} min"


def figure(value: Any) -> str:
    """Return an output value for people."""
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def unit(symbol: str) -> str:
    """Return a unit of EnergyPlus or of an FMU in proper signs: `W/m2-K` as `W/(m²·K)`.

    EnergyPlus writes products with a hyphen (Input Output Reference, "EnergyPlus Units"), Modelica with a
    dot and exponents without a sign (Modelica Language Specification, "Unit Expressions").
    """
    above, *below = [_product(part.strip("()")) for part in symbol.strip().split("/")]
    return "/".join([above, *(f"({each})" if "·" in each else each for each in below)])


def _product(text: str) -> str:
    factors = re.split(r"(?<=\w)[-.](?=[A-Za-z])", text)
    return "·".join(_EXPONENT.sub(_raised, _SIGNS.get(each, each)) for each in factors)


def _raised(found: re.Match[str]) -> str:
    return found[1].translate(_SUPERSCRIPTS)


def _code(run: Run) -> str:
    state = "HELD" if run.state == "PENDING" and run.held_at else run.state
    return run.result if state == "COMPLETED" else state
