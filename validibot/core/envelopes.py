"""Envelopes of `validibot_shared`: the classes of each validator type, and faults of documents."""

from dataclasses import dataclass

from pydantic import BaseModel, Field, ValidationError, field_validator
from validibot_shared.energyplus.envelopes import (
    EnergyPlusInputEnvelope,
    EnergyPlusInputs,
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


class EnergyPlusSettings(EnergyPlusInputs):
    """Inputs with the ranges that the published model lacks; the validator has the same ones."""

    run_period_days: int | None = Field(default=None, ge=1, le=366)

    @field_validator("timestep_per_hour")
    @classmethod
    def _divides_hour(cls, steps: int) -> int:
        # Otherwise the engine would replace it by the next lower divisor, with a warning only.
        if 60 % steps:
            allowed = ", ".join(str(number) for number in range(1, 61) if 60 % number == 0)
            raise ValueError(f"{steps} does not divide 60; allowed: {allowed}")
        return steps

    @field_validator("invocation_mode")
    @classmethod
    def _is_command_line(cls, mode: str) -> str:
        if mode != "cli":
            raise ValueError(f"{mode!r} is not available; allowed: 'cli'")
        return mode


def settings_of(validation_type: str) -> type[BaseModel] | None:
    """Return the schema of a container validator's settings, or None if any object is allowed."""
    language = language_of(validation_type)
    if language.kind is ValidatorType.ENERGYPLUS:
        return EnergyPlusSettings
    inputs = language.input_class.model_fields["inputs"].annotation
    return inputs if isinstance(inputs, type) and issubclass(inputs, BaseModel) else None


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
