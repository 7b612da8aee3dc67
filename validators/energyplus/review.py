"""Checks beyond the engine's own: before a run on request, after it for a review profile."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from validibot_shared.energyplus.models import EnergyPlusSimulationMetrics
from validibot_shared.validations.envelopes import Severity, ValidationMessage

from validators.energyplus.model import Model

TAG = "energyplus-review"

_NAMED = ("Zone", "Material", "Construction", "BuildingSurface:Detailed", "Schedule:Compact")
_THROUGH = re.compile(r"through:?\s*(\d+)/(\d+)", re.IGNORECASE)
_EVIDENCE = {
    "site_eui_kwh_m2": "the site energy use intensity",
    "unmet_heating_hours": "the unmet heating hours",
    "unmet_cooling_hours": "the unmet cooling hours",
    "peak_electric_demand_w": "the peak electric demand",
}


def check(model: Model, names: Sequence[str]) -> list[ValidationMessage]:
    return [message for name in names for message in _CHECKS[name](model)]


def missing_evidence(metrics: EnergyPlusSimulationMetrics) -> list[ValidationMessage]:
    """What a review insists on and the run did not show."""
    return [
        _issue(f"The run does not show {what}.", code="EVIDENCE_MISSING", severity=Severity.ERROR)
        for name, what in _EVIDENCE.items()
        if getattr(metrics, name) is None
    ]


def _duplicate_names(model: Model) -> Iterator[ValidationMessage]:
    counts = Counter(
        (item.kind, item.values[0].lower()) for item in model.of_kind(*_NAMED) if item.values
    )
    for (kind, name), count in counts.items():
        if count > 1:
            yield _issue(
                f"{count} objects of class {kind} are called {name!r}.", code="DUPLICATE_NAME"
            )


def _hvac_sizing(model: Model) -> Iterator[ValidationMessage]:
    sized = any(value.lower() == "autosize" for item in model.objects for value in item.values)
    if sized and not any(item.kind.lower().startswith("sizingperiod:") for item in model.objects):
        text = "The model sizes equipment automatically but has no sizing period."
        yield _issue(text, code="SIZING_PERIOD_MISSING")


def _schedule_coverage(model: Model) -> Iterator[ValidationMessage]:
    for item in model.of_kind("Schedule:Compact"):
        ends = _THROUGH.findall(" ".join(item.values))
        if not ends or tuple(map(int, ends[-1])) != (12, 31):
            text = f"Schedule {item.values[0]!r} does not reach the end of the year."
            yield _issue(text, code="SCHEDULE_INCOMPLETE")


_CHECKS: dict[str, Callable[[Model], Iterator[ValidationMessage]]] = {
    "duplicate-names": _duplicate_names,
    "hvac-sizing": _hvac_sizing,
    "schedule-coverage": _schedule_coverage,
}


def _issue(text: str, *, code: str, severity: Severity = Severity.WARNING) -> ValidationMessage:
    return ValidationMessage(
        severity=severity, code=f"ENERGYPLUS_REVIEW_{code}", text=text, tags=[TAG]
    )
