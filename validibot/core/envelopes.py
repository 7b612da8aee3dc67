"""Which classes of `validibot_shared` a validator type speaks; any other speaks the base classes."""

from dataclasses import dataclass

from validibot_shared.energyplus.envelopes import (
    EnergyPlusInputEnvelope,
    EnergyPlusOutputEnvelope,
)
from validibot_shared.fmu.envelopes import FMUInputEnvelope, FMUOutputEnvelope
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
}


def language_of(validation_type: str) -> Language:
    """Return how to talk to a validator; a type that the library lacks is a custom validator."""
    try:
        kind = ValidatorType(validation_type)
    except ValueError:
        kind = ValidatorType.CUSTOM_VALIDATOR
    return Language(kind, *_TYPED.get(kind, ()))
