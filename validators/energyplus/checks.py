"""Checks of a model beyond the engine's own: refusals before a run, and reviews on request.

Refused are models without objects, and objects that run foreign code or talk to other programs. The
engine judges everything else. Programs in its own language (EMS) run: no statement or function of
that language opens a file or starts a process, the engine limits a loop to a million rounds, and the
attempt's deadline holds for them like for everything else.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from validibot_shared.energyplus.models import EnergyPlusSimulationMetrics
from validibot_shared.validations.envelopes import MessageLocation, Severity, ValidationMessage

from validators.energyplus.design_days import is_unsized
from validators.energyplus.model import Model, ModelObject
from validators.sdk.validation import error

ENGINE_VERSION = "25.2"

_REFUSED = {
    "pythonplugin": "Python programs of a submission are not run; write the control as an "
    "EnergyManagementSystem program or take the object out",
    "externalinterface": "it couples the model with another program during the run, and none is "
    "here; take the object out or give its values as a schedule",
}
_EXPANDED = ("hvactemplate", "groundheattransfer")
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
    return [*_foreign_code(model)]


def model_version(model: Model) -> str | None:
    """Return the engine version of the model, if it has one."""
    for item in model.of_kind("Version"):
        return item.value(0, "version_identifier").strip() or None
    return None


def version_matches(version: str | None) -> bool:
    """Return whether a version is the engine's."""
    return version is not None and (version + ".").startswith(ENGINE_VERSION + ".")


def warnings(model: Model) -> list[ValidationMessage]:
    """Return a warning for each trait of the model that the engine may read differently."""
    return [*_other_version(model), *_ground_heat_transfer(model)]


def needs_expansion(model: Model) -> bool:
    """Return whether ExpandObjects must run before the engine."""
    return any(_group(item) in _EXPANDED for item in model.objects)


def _other_version(model: Model) -> Iterator[ValidationMessage]:
    for item in model.of_kind("Version"):
        if not version_matches(version := item.value(0, "version_identifier").strip()):
            yield ValidationMessage(
                severity=Severity.WARNING,
                code="ENERGYPLUS_VERSION_MISMATCH",
                text=f"The model is for EnergyPlus {version or '(empty)'}; {ENGINE_VERSION} reads it as "
                "its own. Objects and fields that changed between the versions may be read wrongly: "
                "check the results, or convert the model with IDFVersionUpdater.",
                location=location_of(item),
            )


def _ground_heat_transfer(model: Model) -> Iterator[ValidationMessage]:
    for item in model.objects:
        if _group(item) == "groundheattransfer":
            yield ValidationMessage(
                severity=Severity.WARNING,
                code="ENERGYPLUS_GROUND_HEAT_TRANSFER",
                text=f"{item.kind} needs the programs Slab and Basement, which this EnergyPlus package "
                "does not have: the run uses no ground temperatures computed from it. Run them "
                "yourself and give the result as Site:GroundTemperature:BuildingSurface.",
                location=location_of(item),
            )
            return


def _foreign_code(model: Model) -> Iterator[ValidationMessage]:
    refused: dict[str, ModelObject] = {}
    for item in model.objects:
        if _group(item) in _REFUSED:
            refused.setdefault(item.kind.lower(), item)
    for item in refused.values():
        text = f"Objects of class {item.kind} are not allowed: {_REFUSED[_group(item)]}."
        yield error(text, code="ENERGYPLUS_OBJECT_REFUSED", location=location_of(item))


def _group(item: ModelObject) -> str:
    return item.kind.lower().split(":")[0].strip()


def location_of(item: ModelObject) -> MessageLocation | None:
    """Return the place of an object in the submitted file, if its format tells."""
    return MessageLocation(file_role="primary-model", line=item.line) if item.line else None


def review(model: Model, names: Sequence[str]) -> list[ValidationMessage]:
    """Return the findings of the checks with these names."""
    return [message for name in names for message in _CHECKS[name](model)]


def missing_evidence(metrics: EnergyPlusSimulationMetrics) -> list[ValidationMessage]:
    """Return an error for each metric that a review requires and the run does not have."""
    return [
        _issue(
            f"The run does not show {what}.",
            code="ENERGYPLUS_REVIEW_EVIDENCE_MISSING",
            severity=Severity.ERROR,
        )
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
                f"{count} objects of class {kind} are called {name!r}.",
                code="ENERGYPLUS_REVIEW_DUPLICATE_NAME",
            )


def _hvac_sizing(model: Model) -> Iterator[ValidationMessage]:
    if is_unsized(model):
        text = "The model sizes equipment automatically but has no sizing period."
        yield _issue(text, code="ENERGYPLUS_REVIEW_SIZING_PERIOD_MISSING")


def _schedule_coverage(model: Model) -> Iterator[ValidationMessage]:
    for item in model.of_kind("Schedule:Compact"):
        ends = _THROUGH.findall(" ".join(item.values))
        if not ends or tuple(map(int, ends[-1])) != (12, 31):
            text = f"Schedule {item.values[0]!r} does not reach the end of the year."
            yield _issue(text, code="ENERGYPLUS_REVIEW_SCHEDULE_INCOMPLETE")


_CHECKS: dict[str, Callable[[Model], Iterator[ValidationMessage]]] = {
    "duplicate-names": _duplicate_names,
    "hvac-sizing": _hvac_sizing,
    "schedule-coverage": _schedule_coverage,
}


def _issue(text: str, *, code: str, severity: Severity = Severity.WARNING) -> ValidationMessage:
    return ValidationMessage(severity=severity, code=code, text=text, tags=[TAG])
