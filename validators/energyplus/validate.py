"""EnergyPlus validation: read and check the model, prepare a copy, simulate, report."""

from pathlib import Path

from validibot_shared.energyplus.envelopes import (
    EnergyPlusInputEnvelope,
    EnergyPlusInputs,
    EnergyPlusOutputEnvelope,
)
from validibot_shared.validations.envelopes import MessageLocation, ValidationMessage

from validators.energyplus.artifacts import SeriesWriter, finished
from validators.energyplus.checks import (
    model_version,
    needs_expansion,
    refusals,
    review,
    warnings,
)
from validators.energyplus.design_days import add_design_days
from validators.energyplus.engine import EnergyPlusEngine, find_engine
from validators.energyplus.files import (
    FurtherFiles,
    add_submitted_lines,
    has_macros,
    place_files,
    place_weather,
    with_includes,
)
from validators.energyplus.model import Model, read_model
from validators.energyplus.outcome import EngineRun, conclude, nothing_ran
from validators.energyplus.prepare import RUN_PERIOD_DAYS, TIMESTEPS, prepare
from validators.energyplus.submitted import SubmittedModel
from validators.energyplus.text import ModelUnreadable, read_text
from validators.sdk.manifest import read_manifest
from validators.sdk.validation import (
    ContainerValidator,
    ValidationRequest,
    ValidationResult,
    error,
    failed,
    rejected,
)

_EPJSON_SUFFIXES = {".epjson", ".json"}

type Request = ValidationRequest[EnergyPlusInputEnvelope]


def validate(request: Request) -> ValidationResult:
    """Validate the building model of a request."""
    inputs = request.envelope.inputs
    if wrong := _wrong_option(inputs):
        return failed(wrong, code="ENERGYPLUS_OPTION_INVALID", outputs=nothing_ran())
    weather = request.file("weather_file") if inputs.run_simulation else None
    engine = find_engine()
    further = FurtherFiles(request.further_files)
    try:
        model, notes = _read(request, engine, further)
    except ModelUnreadable as problem:
        return rejected(_unreadable(problem), outputs=nothing_ran())
    version = model_version(model)
    folder, beside = request.folder / "run", request.folder / "model"
    folder.mkdir()
    beside.mkdir()
    if weather:
        statistics = further.find_statistics() or request.files.get("weather_statistics")
        weather = place_weather(weather, statistics, folder=request.folder / "weather")
    if refused := [*refusals(model), *place_files(model, further, folder=beside)]:
        return rejected(*notes, *refused, outputs=nothing_ran(idf_version=version))
    findings = [*notes, *warnings(model), *further.unused(), *review(model, inputs.idf_checks)]
    expands = inputs.run_simulation and needs_expansion(model)
    submitted = SubmittedModel(model, same_lines=not (expands or model.is_rewritten))
    findings += prepare(model, inputs)
    if inputs.run_simulation:
        findings += add_design_days(model, request.files.get("design_days"))
    copy = beside / model.file_name
    copy.write_bytes(model.dump())
    with SeriesWriter(
        folder,
        folder=request.folder / "series",
        timeout=request.seconds_left(),
        memory_mb=request.memory_mb,
    ) as series:
        run = _simulate(request, engine, copy, weather=weather, expand=expands, series=series)
        return conclude(run, inputs=inputs, engine=engine, submitted=submitted, review=findings)


def _wrong_option(inputs: EnergyPlusInputs) -> str | None:
    """Return the reason if an option has a value that the published model lets pass."""
    days, steps, mode = inputs.run_period_days, inputs.timestep_per_hour, inputs.invocation_mode
    if days is not None and days not in RUN_PERIOD_DAYS:
        return (
            f"The step's option `run_period_days` is {days}; it must be between "
            f"{RUN_PERIOD_DAYS[0]} and {RUN_PERIOD_DAYS[-1]}."
        )
    if steps not in TIMESTEPS:
        allowed = ", ".join(map(str, TIMESTEPS))
        return f"The step's option `timestep_per_hour` is {steps}; it must be one of {allowed}."
    if mode != "cli":
        return f"The step's option `invocation_mode` is {mode!r}; it must be 'cli'."
    return None


def _read(
    request: Request, engine: EnergyPlusEngine, further: FurtherFiles
) -> tuple[Model, list[ValidationMessage]]:
    """Return the model and what was done to read it. Raises ModelUnreadable, Failure."""
    submitted = request.file("primary_model")
    epjson = submitted.suffix.lower() in _EPJSON_SUFFIXES
    text, notes = read_text(submitted.read_bytes())
    macros = not epjson and has_macros(text)
    if macros:
        folder = request.folder / "macros"
        folder.mkdir()
        ended, output = engine.expand_macros(
            with_includes(text, further),
            folder=folder,
            timeout=request.seconds_left(),
            memory_mb=request.memory_mb,
        )
        if ended.timed_out or ended.returncode or not output:
            reason = "the time limit" if ended.timed_out else f"code {ended.returncode}"
            raise ModelUnreadable(
                f"EP-Macro, which replaces the model's ## commands, ended with {reason}. "
                f"{ended.stderr_tail.strip()[:500]}",
                code="ENERGYPLUS_MACRO_FAILED",
            )
        model = read_model(read_text(output)[0], epjson=False, lines=False)
        add_submitted_lines(model, text)
        return model, notes
    return read_model(text, epjson=epjson), notes


def _simulate(
    request: Request,
    engine: EnergyPlusEngine,
    model: Path,
    *,
    weather: Path | None,
    expand: bool,
    series: SeriesWriter,
) -> EngineRun:
    """Run the engine; then begin to write its time series and to store its other files."""
    folder = request.folder / "run"
    ended = engine.simulate(
        model,
        weather=weather,
        folder=folder,
        timeout=request.seconds_left(),
        memory_mb=request.memory_mb,
        expand=expand,
    )
    series.release()
    for artifact in finished(folder):
        request.upload(artifact)
    return EngineRun(ended=ended, folder=folder, series=series.result)


def _unreadable(problem: ModelUnreadable) -> ValidationMessage:
    location = MessageLocation(line=problem.line) if problem.line else None
    return error(str(problem), code=problem.code, location=location)


VALIDATOR = ContainerValidator(
    validate=validate,
    input_envelope=EnergyPlusInputEnvelope,
    output_envelope=EnergyPlusOutputEnvelope,
    outputs_of_failure=nothing_ran(),
    memory_mb=read_manifest(Path(__file__).parent).budgets.memory_mb,
)
