"""Envelopes of `validibot_shared`: the classes of each validator type, and faults of documents."""

from dataclasses import dataclass

from pydantic import ValidationError
from validibot_shared.energyplus.envelopes import (
    EnergyPlusInputEnvelope,
    EnergyPlusOutputEnvelope,
)
from validibot_shared.fmu.envelopes import FMUInputEnvelope, FMUOutputEnvelope
from validibot_shared.schematron.envelopes import (
    SchematronInputEnvelope,
    SchematronOutputEnvelope,
)
from validibot_shared.shacl.envelopes import SHACLInputEnvelope, SHACLOutputEnvelope
from validibot_shared.validations.envelopes import (
    ValidationInputEnvelope,
    ValidationOutputEnvelope,
    ValidatorType,
)


@dataclass(frozen=True, slots=True)
class Language:
    """The envelopes of one validator type; `kind` is its name on the wire."""

    kind: ValidatorType
    input_class: type[ValidationInputEnvelope] = ValidationInputEnvelope
    output_class: type[ValidationOutputEnvelope] = ValidationOutputEnvelope


_TYPED = {
    ValidatorType.ENERGYPLUS: (EnergyPlusInputEnvelope, EnergyPlusOutputEnvelope),
    ValidatorType.FMU: (FMUInputEnvelope, FMUOutputEnvelope),
    ValidatorType.SCHEMATRON: (SchematronInputEnvelope, SchematronOutputEnvelope),
    ValidatorType.SHACL: (SHACLInputEnvelope, SHACLOutputEnvelope),
}


def language_of(validation_type: str) -> Language:
    """Return how to talk to a validator; a type that the library lacks is a custom validator."""
    try:
        kind = ValidatorType(validation_type)
    except ValueError:
        kind = ValidatorType.CUSTOM_VALIDATOR
    return Language(kind, *_TYPED.get(kind, ()))


def faults_of(error: ValidationError, *, root: str, limit: int = 1) -> str:
    """Return the first faults of a document, each with its place; `root` names the document."""
    faults = error.errors(include_input=False, include_url=False)[:limit]
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or root}: {fault['msg']}" for fault in faults
    )
