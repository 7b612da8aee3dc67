"""FMU validation: unpack and check, simulate in a child process, report."""

import json
import sys
from pathlib import Path
from typing import Any

from validibot_shared.fmu.envelopes import FMUInputEnvelope, FMUOutputEnvelope
from validibot_shared.validations.envelopes import Severity, ValidationMessage, ValidationStatus

from validators.fmu import trajectory
from validators.fmu.binary import require_binary, require_executable
from validators.fmu.description import Description, FmuRefused, read_description, unpack
from validators.fmu.options import StepOptions, check_options
from validators.fmu.outcome import FmuSimulation, judge, note, outputs, read_simulation
from validators.fmu.series import SeriesRefused, read_series
from validators.sdk.manifest import read_manifest
from validators.sdk.process import Ended, run_limited
from validators.sdk.validation import (
    ArtifactFile,
    ContainerValidator,
    ValidationRequest,
    ValidationResult,
    error,
    rejected,
)

SERIES_PORT = "input_series"
_CONVERSION_SECONDS = 10.0
_SIMULATE = Path(__file__).with_name("simulate.py")


def validate(request: ValidationRequest[FMUInputEnvelope]) -> ValidationResult:
    """Validate the FMU of a request."""
    unpacked = request.folder / "fmu"
    try:
        names = unpack(request.file("fmu_model"), unpacked)
        description = read_description(unpacked)
        require_binary(names, description)
    except FmuRefused as refused:
        return rejected(error(str(refused), code=refused.code))
    options, findings = check_options(request.envelope.inputs, description)
    if options is None:
        return rejected(*findings)
    width = sum(variable.size for variable in options.outputs)
    if width > trajectory.COLUMN_LIMIT:
        text = (
            f"The outputs have {width} elements; {trajectory.COLUMN_LIMIT} can be recorded. "
            "Choose fewer in output_variables."
        )
        return rejected(error(text, code="FMU_TOO_LARGE"))
    try:
        series = _series(request, description)
    except SeriesRefused as refused:
        return rejected(error(str(refused), code="FMU_SERIES_REFUSED"))
    require_executable(unpacked)
    return _simulated(request, description, options, series=series, unpacked=unpacked)


def _series(
    request: ValidationRequest[FMUInputEnvelope], description: Description
) -> dict[str, Any] | None:
    """Return the inputs over time: the submission's CSV file, or else the step's."""
    sent = list(request.further_files.values())
    if len(sent) > 1 or any(path.suffix.lower() != ".csv" for path in sent):
        names = ", ".join(path.name for path in sent[:10])
        text = f"Send one CSV file with inputs over time beside the FMU, not: {names}."
        raise SeriesRefused(text)
    path = sent[0] if sent else request.files.get(SERIES_PORT)
    if path is None:
        return None
    return read_series(path, description, target=request.folder / "series.bin")


def _simulated(
    request: ValidationRequest[FMUInputEnvelope],
    description: Description,
    options: StepOptions,
    *,
    series: dict[str, Any] | None,
    unpacked: Path,
) -> ValidationResult:
    folder = request.folder
    header = trajectory.columns(options.outputs)
    job = {
        "folder": str(unpacked),
        "fmi3": description.is_fmi3,
        "relaxed": options.relaxed,
        "start_time": options.plan.start,
        "stop_time": options.plan.stop,
        "step_size": options.plan.step,
        "tolerance": options.plan.tolerance,
        "start_values": options.values,
        "series": series,
        **trajectory.reading(options.outputs),
        "header": [title for title, _ in header],
        "stride": trajectory.stride(options),
        # Events of model exchange add samples to those that were counted before.
        "value_limit": 2 * trajectory.VALUE_LIMIT,
        "byte_limit": trajectory.BYTE_LIMIT,
    }
    (folder / "job.json").write_text(json.dumps(job))
    with trajectory.TrajectoryConverter(
        folder,
        header=header,
        # Also the trajectory of a simulation that ran out of time is converted.
        timeout=request.seconds_left() + _CONVERSION_SECONDS,
        memory_mb=request.memory_mb,
    ) as converter:
        ended = _run(request)
        simulation = read_simulation(
            ended, folder=folder, unpacked=unpacked, start=options.plan.start
        )
        findings = judge(simulation, options=options, description=description)
        failed = any(finding.severity is Severity.ERROR for finding in findings)
        artifacts, notes = (
            _artifacts(simulation, converter, folder=folder) if options.outputs else ([], [])
        )
    return ValidationResult(
        status=ValidationStatus.FAILED_VALIDATION if failed else ValidationStatus.SUCCESS,
        messages=[*findings, *notes],
        outputs=outputs(simulation, description),
        artifacts=artifacts,
    )


def _run(request: ValidationRequest[FMUInputEnvelope]) -> Ended:
    return run_limited(
        [sys.executable, "-I", _SIMULATE, request.folder],
        folder=request.folder,
        timeout=request.seconds_left(),
        memory_mb=request.memory_mb,
        environment={
            "HOME": str(request.folder),
            "OPENBLAS_NUM_THREADS": "1",
            "LC_ALL": "C.UTF-8",
        },
    )


def _artifacts(
    simulation: FmuSimulation, converter: trajectory.TrajectoryConverter, *, folder: Path
) -> tuple[list[ArtifactFile], list[ValidationMessage]]:
    """Return the files of the trajectory, that of a crashed simulation included, and notes."""
    answer = simulation.answer
    kept = answer["kept"] if answer else trajectory.cut_to_complete_rows(folder / "trajectory.csv")
    if not kept:
        return [], []
    artifacts, notes = converter.artifacts(), []
    if not answer:
        samples = "1 sample" if kept == 1 else f"{kept} samples"
        text = f"The trajectory ends with the process; its files have {samples}."
        notes.append(note(Severity.INFO, text, code="FMU_TRAJECTORY_PARTIAL"))
    if len(artifacts) == 1:
        text = "The trajectory could not be converted to Parquet; the CSV file has it."
        notes.append(note(Severity.WARNING, text, code="FMU_NO_PARQUET"))
    return artifacts, notes


VALIDATOR = ContainerValidator(
    validate=validate,
    input_envelope=FMUInputEnvelope,
    output_envelope=FMUOutputEnvelope,
    memory_mb=read_manifest(Path(__file__).parent).budgets.memory_mb,
)
