"""FMU validation: unpack and check, simulate in a child process, report."""

import json
import math
import struct
import sys
from pathlib import Path
from typing import Any

from validibot_shared.fmu.envelopes import (
    FMUInputEnvelope,
    FMUInputs,
    FMUOutputEnvelope,
    FMUOutputs,
)
from validibot_shared.validations.envelopes import ValidationMessage, ValidationStatus

from validators.fmu.archive import FmuRefused, unpack
from validators.fmu.description import (
    Description,
    read_description,
    require_binary,
    require_executable,
)
from validators.sdk.manifest import read_manifest
from validators.sdk.process import Ended, run_limited
from validators.sdk.validation import (
    ContainerValidator,
    Failure,
    ValidationRequest,
    ValidationResult,
    error,
    rejected,
)

STEP_LIMIT = 2_000_000
_SIMULATE = Path(__file__).with_name("simulate.py")


def validate(request: ValidationRequest[FMUInputEnvelope]) -> ValidationResult:
    """Validate the FMU of a request."""
    inputs = request.envelope.inputs
    unpacked = request.folder / "fmu"
    try:
        names = unpack(request.file("fmu_model"), unpacked)
        description = read_description(unpacked)
        require_binary(names, description)
    except FmuRefused as refused:
        return rejected(error(str(refused), code=refused.code))
    if findings := _misfits(inputs, description):
        return rejected(*findings)
    require_executable(unpacked)
    wanted = inputs.output_variables or description.outputs
    _write_job(request.folder, inputs, unpacked=unpacked, outputs=wanted)
    ended = run_limited(
        [sys.executable, "-I", _SIMULATE, request.folder],
        folder=request.folder,
        timeout=request.seconds_left(),
        memory_mb=request.memory_mb,
        environment={"HOME": str(request.folder), "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},
    )
    return _judge(ended, folder=request.folder, description=description)


def _misfits(inputs: FMUInputs, description: Description) -> list[ValidationMessage]:
    """Return an error for each option of the step that does not fit the FMU."""
    return [
        *_unknown(inputs, description),
        *_bad_values(inputs, description),
        *_bad_times(inputs),
    ]


def _unknown(inputs: FMUInputs, description: Description) -> list[ValidationMessage]:
    names = sorted({*inputs.input_values, *inputs.output_variables} - description.variables.keys())
    return [
        error(f"The FMU has no variable {name!r}.", code="FMU_UNKNOWN_VARIABLE") for name in names
    ]


def _bad_values(inputs: FMUInputs, description: Description) -> list[ValidationMessage]:
    return [
        error(
            f"{value!r} is not a value for the FMU's {variable.type} variable {name!r}.",
            code="FMU_VALUE_REFUSED",
        )
        for name, value in inputs.input_values.items()
        if (variable := description.variables.get(name)) and not variable.accepts(value)
    ]


def _bad_times(inputs: FMUInputs) -> list[ValidationMessage]:
    times = inputs.simulation
    if not times.stop_time > times.start_time:
        text = f"The stop time {times.stop_time} is not after the start time {times.start_time}."
        return [error(text, code="FMU_TIMES_REFUSED")]
    if (times.stop_time - times.start_time) / times.step_size > STEP_LIMIT:
        text = f"The simulation would take more than {STEP_LIMIT} steps."
        return [error(text, code="FMU_TIMES_REFUSED")]
    return []


def _write_job(folder: Path, inputs: FMUInputs, *, unpacked: Path, outputs: list[str]) -> None:
    times = inputs.simulation
    job = {
        "filename": str(unpacked),
        "start_time": times.start_time,
        "stop_time": times.stop_time,
        "output_interval": times.step_size,
        "relative_tolerance": times.tolerance,
        "start_values": inputs.input_values,
        "output": outputs,
    }
    (folder / "job.json").write_text(json.dumps(job))


def _judge(ended: Ended, *, folder: Path, description: Description) -> ValidationResult:
    answer = _answer(folder)
    log = (ended.stdout_tail + ended.stderr_tail).strip()
    values = answer.get("values", {})
    finite = {name: value for name, value in values.items() if _is_finite(value)}
    findings = [
        error(f"The output {name!r} is not a finite number.", code="FMU_NOT_FINITE")
        for name in sorted(values.keys() - finite.keys())
    ]
    if problem := _problem(ended, answer, log=log):
        findings.append(problem)
    return ValidationResult(
        status=ValidationStatus.FAILED_VALIDATION if findings else ValidationStatus.SUCCESS,
        messages=findings,
        outputs=FMUOutputs(
            output_values=finite,
            fmu_guid=description.guid,
            fmi_version=description.fmi_version,
            model_name=description.model_name,
            execution_seconds=ended.seconds,
            simulation_time_reached=answer.get("time", _progress(folder)),
            fmu_log=log or None,
        ),
    )


def _problem(ended: Ended, answer: dict[str, Any], *, log: str) -> ValidationMessage | None:
    """Return the error of the simulation, if any.

    A crash and an endless step are the FMU's fault; any other failure of the child is ours.
    """
    if ended.timed_out:
        text = f"The simulation did not end within {ended.seconds:.0f} s and was stopped."
        return error(text, code="FMU_TIMEOUT")
    if ended.returncode < 0:
        text = f"The FMU crashed the simulation ({ended.signal_name})."
        return error(text, code="FMU_CRASHED")
    if "code" in answer:
        last_words = f" The last line of its log: {log.splitlines()[-1]}" if log else ""
        return error(answer["text"] + last_words, code=answer["code"])
    if "values" not in answer:
        raise Failure(f"The simulation process failed: {log}", code="FMU_NOT_SIMULATED")
    return None


def _answer(folder: Path) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads((folder / "answer.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return answer


def _progress(folder: Path) -> float:
    """Return the simulated time of the last step, which the child notes in case it dies."""
    try:
        time: float = struct.unpack("d", (folder / "progress").read_bytes())[0]
    except (FileNotFoundError, struct.error):
        return 0.0
    return time if math.isfinite(time) and time > 0 else 0.0


def _is_finite(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(not isinstance(item, float) or math.isfinite(item) for item in values)


VALIDATOR = ContainerValidator(
    validate=validate,
    input_envelope=FMUInputEnvelope,
    output_envelope=FMUOutputEnvelope,
    memory_mb=read_manifest(Path(__file__).parent).budgets.memory_mb,
)
