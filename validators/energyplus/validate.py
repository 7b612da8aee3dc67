"""EnergyPlus validation: read and check the model, prepare a copy, simulate, report."""

from pathlib import Path

from validibot_shared.energyplus.envelopes import (
    EnergyPlusInputEnvelope,
    EnergyPlusOutputEnvelope,
)
from validibot_shared.validations.envelopes import MessageLocation, Severity, ValidationMessage

from validators.energyplus.checks import model_version, refusals, review
from validators.energyplus.engine import find_engine
from validators.energyplus.model import ModelUnreadable, read_model
from validators.energyplus.outcome import conclude, nothing_ran
from validators.energyplus.prepare import prepare
from validators.energyplus.submitted import SubmittedModel
from validators.sdk.manifest import read_manifest
from validators.sdk.validation import (
    ContainerValidator,
    ValidationRequest,
    ValidationResult,
    rejected,
)

_EPJSON_SUFFIXES = {".epjson", ".json"}


def validate(request: ValidationRequest[EnergyPlusInputEnvelope]) -> ValidationResult:
    """Validate the building model of a request."""
    inputs = request.envelope.inputs
    submitted = request.file("primary_model")
    weather = request.file("weather_file") if inputs.run_simulation else None
    try:
        content = submitted.read_bytes()
        model = read_model(content, epjson=submitted.suffix.lower() in _EPJSON_SUFFIXES)
    except ModelUnreadable as problem:
        return rejected(_unreadable(problem), outputs=nothing_ran())
    version = model_version(model)
    if refused := refusals(model):
        return rejected(*refused, outputs=nothing_ran(idf_version=version))
    findings = review(model, inputs.idf_checks)
    engine = find_engine()
    original = SubmittedModel(model)
    prepare(model, inputs)
    working_copy = request.folder / model.file_name
    working_copy.write_bytes(model.dump())
    folder = request.folder / "run"
    folder.mkdir()
    ended = engine.simulate(
        working_copy,
        weather=weather,
        folder=folder,
        timeout=request.seconds_left(),
        memory_mb=request.memory_mb,
    )
    return conclude(
        ended,
        folder=folder,
        inputs=inputs,
        engine=engine,
        submitted=original,
        review=findings,
    )


def _unreadable(problem: ModelUnreadable) -> ValidationMessage:
    location = MessageLocation(line=problem.line) if problem.line else None
    return ValidationMessage(
        severity=Severity.ERROR, code=problem.code, text=str(problem), location=location
    )


VALIDATOR = ContainerValidator(
    validate=validate,
    input_envelope=EnergyPlusInputEnvelope,
    output_envelope=EnergyPlusOutputEnvelope,
    outputs_of_failure=nothing_ran(),
    memory_mb=read_manifest(Path(__file__).parent).budgets.memory_mb,
)
