"""Settings of steps with container validators, and the inputs of an envelope that are made of them.

The published input models are what a validator gets. Where one lacks a range, or has fields that no
person fills in, the settings of the step have a model of their own.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from validibot_shared.energyplus.envelopes import EnergyPlusInputs
from validibot_shared.fmu.envelopes import FMUInputs
from validibot_shared.validations.envelopes import ValidatorType

from validibot.core.echo import echo
from validibot.core.envelopes import language_of

MAX_RULES_CHARACTERS = 2_000_000
_ALL_PHASES = ("#ALL", "#DEFAULT")


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
            raise ValueError(f"{echo(mode)} is not available; allowed: 'cli'")
        return mode


_MODEL_NAMES: dict[str, Any] = {"x-names": "model"}
"""Of a field with names of variables of the step's FMU, which its form completes."""


class FmuSettings(FMUInputs):
    """Inputs whose names of variables are marked."""

    input_values: dict[str, Any] = Field(
        default_factory=dict,
        description="Values of inputs and parameters by name, such as `2.5`, or `{value: 20, unit: degC}`.",
        json_schema_extra=_MODEL_NAMES,
    )
    output_variables: list[str] = Field(
        default_factory=list,
        description="Names of the variables to report; without them all outputs.",
        json_schema_extra=_MODEL_NAMES,
    )


class SchematronSettings(BaseModel):
    """Settings of a Schematron step. `phase` becomes the default phase of the schema that is sent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schematron_text: str = Field(
        title="Rules",
        max_length=MAX_RULES_CHARACTERS,
        description="A schema in ISO Schematron. Query bindings: `xslt`, `xslt2`, `xslt3`.",
        json_schema_extra={"contentMediaType": "application/xml"},
    )
    documents: dict[str, str] = Field(
        default_factory=dict,
        max_length=200,
        title="Further rules",
        description="The texts that the schema includes, by the name that `href` has.",
    )
    phase: str = Field(
        default="",
        max_length=200,
        description="The phase whose patterns are checked; without one, the default of the schema.",
    )
    max_findings: int = Field(
        default=500,
        ge=1,
        le=5000,
        title="Most findings",
        description="The report has all of them.",
    )
    xslt_timeout_seconds: int = Field(
        default=60, ge=1, le=240, title="Time limit in seconds", description="For one document."
    )

    @model_validator(mode="after")
    def _has_phase(self) -> "SchematronSettings":
        # Imported late: every process imports this module, and few read a schema.
        from validibot.workflows.schematron_includes import (  # noqa: PLC0415
            SCHEMATRON,
            merged_schema,
        )

        root = merged_schema(self.schematron_text, self.documents)
        phases = [each.get("id", "") for each in root.iterchildren(f"{SCHEMATRON}phase")]
        if self.phase and self.phase not in (*_ALL_PHASES, *phases):
            known = ", ".join([*_ALL_PHASES, *phases])
            raise ValueError(f"The rules have no phase {echo(self.phase)}; use one of: {known}")
        return self


class ShaclSettings(BaseModel):
    """Settings of a SHACL step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shapes_text: str = Field(
        title="Shapes",
        max_length=MAX_RULES_CHARACTERS,
        description="The shapes graph in Turtle. `owl:imports` is not followed.",
        json_schema_extra={"contentMediaType": "text/turtle"},
    )
    ontology_text: str = Field(
        default="",
        title="Ontology",
        max_length=MAX_RULES_CHARACTERS,
        description="Classes and properties in Turtle, for the inference.",
        json_schema_extra={"contentMediaType": "text/turtle"},
    )
    inference_mode: Literal["none", "rdfs", "owlrl", "both"] = Field(
        default="rdfs",
        title="Inference",
        description="What is added to the data before the check: `rdfs` adds classes from subclasses.",
    )
    advanced_shacl: bool = Field(
        default=False,
        title="Allow SPARQL and rules",
        description="Shapes with `sh:sparql`, `sh:rule` and expressions; queries of other servers never run.",
    )
    pyshacl_timeout_seconds: int = Field(
        default=300, ge=1, le=540, title="Time limit in seconds", description="For one graph."
    )


_OWN_MODELS: Mapping[ValidatorType, type[BaseModel]] = {
    ValidatorType.ENERGYPLUS: EnergyPlusSettings,
    ValidatorType.FMU: FmuSettings,
    ValidatorType.SCHEMATRON: SchematronSettings,
    ValidatorType.SHACL: ShaclSettings,
}


def settings_of(validation_type: str) -> type[BaseModel] | None:
    """Return the schema of a container validator's settings, or None if any object is allowed."""
    language = language_of(validation_type)
    if language.kind in _OWN_MODELS:
        return _OWN_MODELS[language.kind]
    inputs = language.input_class.model_fields["inputs"].annotation
    return inputs if isinstance(inputs, type) and issubclass(inputs, BaseModel) else None


def envelope_inputs(validation_type: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of an envelope, from the settings of a step that are the validator's."""
    made, kind = dict(inputs), language_of(validation_type).kind
    if kind is ValidatorType.SHACL:
        # The published model has a second switch for deployments that run SHACL beside secrets.
        made["enable_advanced_features"] = made.get("advanced_shacl", False)
    if kind is ValidatorType.SCHEMATRON and "schematron_text" in made:
        documents, phase = made.pop("documents", {}), made.pop("phase", "")
        text = _one_text(str(made["schematron_text"]), documents, phase)
        digest = hashlib.sha256(text.encode()).hexdigest()
        made |= {"schematron_text": text, "schematron_sha256": digest}
    return made


def _one_text(text: str, documents: Mapping[str, str], phase: str) -> str:
    """Return a Schematron schema with what it includes and with its phase. Raises ValueError."""
    if not documents and phase in ("", "#DEFAULT"):
        return text
    # Imported late, as above: lxml is large, and few processes read a schema.
    from lxml import etree  # noqa: PLC0415

    from validibot.workflows.schematron_includes import merged_schema  # noqa: PLC0415

    root = merged_schema(text, documents)
    if phase not in ("", "#DEFAULT"):
        root.set("defaultPhase", phase)
    return etree.tostring(root.getroottree(), encoding="unicode")
