"""Checks of a model beyond the engine's own: refusals before a run, and reviews on request.

Refused are models for another engine version, objects that run code or talk to other programs, and
paths that lead outside the model's folder.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from validibot_shared.energyplus.models import EnergyPlusSimulationMetrics
from validibot_shared.validations.envelopes import Severity, ValidationMessage

from validators.energyplus.model import Model, ModelObject
from validators.sdk.validation import error

ENGINE_VERSION = "25.2"

_CODE = re.compile(
    r"(pythonplugin|externalinterface)(:.*)?|energymanagementsystem:(program|subroutine)",
    re.IGNORECASE,
)
_READS_A_FILE = (
    "Schedule:File",
    "Schedule:File:Shading",
    "Construction:WindowDataFile",
    "Coil:DX:ASHRAE205:Performance",
    "Chiller:Electric:ASHRAE205",
    "Table:IndependentVariable",
    "Table:Lookup",
)
_OUTSIDE = re.compile(r"[/\\~]|[A-Za-z]:|(.*[/\\])?\.\.([/\\]|$)|\w+://")
TAG = "energyplus-review"

_NAMED = ("Zone", "Material", "Construction", "BuildingSurface:Detailed", "Schedule:Compact")
_THROUGH = re.compile(r"through:?\s*(\d+)/(\d+)", re.IGNORECASE)
_EVIDENCE = {
    "site_eui_kwh_m2": "the site energy use intensity",
    "unmet_heating_hours": "the unmet heating hours",
    "unmet_cooling_hours": "the unmet cooling hours",
    "peak_electric_demand_w": "the peak electric demand",
}


def refusals(model: Model) -> list[ValidationMessage]:
    """Return an error for each reason to refuse the model."""
    if not any(not item.is_a("Version") for item in model.objects):
        text = "The model has no objects."
        return [error(text, code="ENERGYPLUS_EMPTY_MODEL")]
    return [*_version(model), *_foreign_code(model), *_outside_files(model)]


def model_version(model: Model) -> str | None:
    """Return the engine version of the model, if it has one."""
    for item in model.of_kind("Version"):
        return item.value(0, "version_identifier").strip() or None
    return None


def version_matches(version: str | None) -> bool:
    """Return whether a version is the engine's."""
    return version is not None and (version + ".").startswith(ENGINE_VERSION + ".")


def _version(model: Model) -> Iterator[ValidationMessage]:
    version = model_version(model)
    if version is None:
        text = f"The model has no Version object; it must say {ENGINE_VERSION}."
        yield error(text, code="ENERGYPLUS_VERSION_MISSING")
    elif not version_matches(version):
        text = (
            f"The model is for EnergyPlus {version}, the engine is {ENGINE_VERSION}: convert it "
            "with the version updater."
        )
        yield error(text, code="ENERGYPLUS_VERSION_MISMATCH")


def _foreign_code(model: Model) -> Iterator[ValidationMessage]:
    for kind in sorted({item.kind for item in model.objects if _CODE.fullmatch(item.kind)}):
        text = f"Objects of class {kind} are not allowed: they run code or talk to other programs."
        yield error(text, code="ENERGYPLUS_OBJECT_REFUSED")


def _outside_files(model: Model) -> Iterator[ValidationMessage]:
    for item in model.of_kind(*_READS_A_FILE):
        if path := _outside_path(item):
            text = f"{item.kind} {item.values[0]!r} reads {path!r}, a path outside of the model."
            yield error(text, code="ENERGYPLUS_PATH_REFUSED")


def _outside_path(item: ModelObject) -> str | None:
    return next((value for value in item.values if _OUTSIDE.match(value)), None)


def review(model: Model, names: Sequence[str]) -> list[ValidationMessage]:
    """Return the findings of the checks with these names."""
    return [message for name in names for message in _CHECKS[name](model)]


def missing_evidence(metrics: EnergyPlusSimulationMetrics) -> list[ValidationMessage]:
    """Return an error for each metric that a review requires and the run does not have."""
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
