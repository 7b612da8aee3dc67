"""What is refused before the engine sees it: not a model, another version, a way out of the folder."""

import re
from collections.abc import Iterator

from validibot_shared.validations.envelopes import ValidationMessage

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


def refusals(model: Model) -> list[ValidationMessage]:
    if not any(not item.is_a("Version") for item in model.objects):
        text = "The model has no objects."
        return [error(text, code="ENERGYPLUS_EMPTY_MODEL")]
    return [*_version(model), *_foreign_code(model), *_outside_files(model)]


def model_version(model: Model) -> str | None:
    for item in model.of_kind("Version"):
        return item.value(0, "version_identifier").strip() or None
    return None


def version_matches(version: str | None) -> bool:
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
