"""Findings and outputs of an FMU's simulation, from what its child process left."""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from validibot_shared.fmu.envelopes import FMUOutputs
from validibot_shared.validations.envelopes import Severity, ValidationMessage

from validators.fmu.binary import loading_hint
from validators.fmu.description import Description
from validators.fmu.options import StepOptions, located
from validators.fmu.variable import FmuVariable
from validators.sdk.process import Ended
from validators.sdk.validation import Failure, error

_PROGRESS = struct.Struct("=dd?48s")
_SHOWN = 20
_STATUS = {1: "warning", 2: "discard", 3: "error", 4: "fatal"}


@dataclass(frozen=True, kw_only=True)
class FmuSimulation:
    """Ended simulation. `answer` is empty if the child process did not come to its end.

    `time` is the simulated time in seconds, `function` the FMI function that was running.
    """

    ended: Ended
    answer: dict[str, Any]
    time: float
    silent_seconds: float
    function: str | None
    log: str
    unpacked: Path


def read_simulation(ended: Ended, *, folder: Path, unpacked: Path, start: float) -> FmuSimulation:
    """Read the answer and the progress of the child process. Raises Failure."""
    try:
        answer: dict[str, Any] = json.loads((folder / "answer.json").read_bytes())
    except FileNotFoundError:
        answer = {}
    log = (ended.stdout_tail + ended.stderr_tail).strip()
    try:
        packed = (folder / "progress").read_bytes()
        time, advanced, inside, name = _PROGRESS.unpack(packed)
    except (FileNotFoundError, struct.error):
        time, advanced, inside, name = start, monotonic(), False, b""
    function = name.rstrip(b"\0").decode(errors="replace") if inside else None
    return FmuSimulation(
        ended=ended,
        answer=answer,
        time=answer.get("time", time if math.isfinite(time) else start),
        silent_seconds=max(monotonic() - advanced, 0.0),
        function=function,
        log=log,
        unpacked=unpacked,
    )


def judge(
    simulation: FmuSimulation, *, options: StepOptions, description: Description
) -> list[ValidationMessage]:
    """Return the findings of a simulation, errors first. Raises Failure."""
    findings = [
        *_end(simulation, options=options, description=description),
        *_not_finite(simulation.answer, options.outputs),
        *_model_messages(simulation.answer),
        *_relaxed(simulation.answer),
        *_trajectory(simulation.answer),
    ]
    if not options.outputs:
        text = (
            "The FMU declares no outputs, so there is nothing to report. "
            "Name variables in output_variables."
        )
        findings.append(note(Severity.WARNING, text, code="FMU_NO_OUTPUTS"))
    findings.append(_experiment(options))
    return findings


def outputs(simulation: FmuSimulation, description: Description) -> FMUOutputs:
    """Return the outputs of the envelope; values that are no finite numbers are left out."""
    values = simulation.answer.get("values", {})
    return FMUOutputs(
        output_values={name: value for name, value in values.items() if _is_finite(value)},
        fmu_guid=description.guid,
        fmi_version=description.fmi_version,
        model_name=description.model_name,
        execution_seconds=simulation.ended.seconds,
        simulation_time_reached=max(simulation.time, 0.0),
        fmu_log=simulation.log or None,
    )


def _end(
    simulation: FmuSimulation, *, options: StepOptions, description: Description
) -> Iterator[ValidationMessage]:
    """Yield an error if the simulation did not come to its stop time, or its process to its end.

    A crash, an exit and an endless step are the FMU's fault; another end of the child is ours.
    """
    ended, answer, at = simulation.ended, simulation.answer, f"at t = {simulation.time:g} s"
    function = _in_words(simulation.function)
    if ended.timed_out:
        yield error(_timeout(simulation, options), code="FMU_TIMEOUT")
    elif ended.returncode < 0:
        text = f"The FMU crashed the simulation ({ended.signal_name}){function} {at}."
        if not function and ended.signal_name == "SIGKILL":
            text = f"The simulation was killed {at}; the usual reason is that memory ran out."
        yield error(text, code="FMU_CRASHED")
    elif simulation.function is not None:
        text = f"The FMU ended the process with exit code {ended.returncode}{function} {at}."
        yield error(f"{text} A model must return a status instead.", code="FMU_EXITED")
    elif not answer:
        raise Failure(f"The simulation process failed: {simulation.log}", code="FMU_NOT_SIMULATED")
    elif "code" in answer:
        yield _problem(simulation, description=description, at=at)
    else:
        yield from _early_end(simulation, options, description)


def _timeout(simulation: FmuSimulation, options: StepOptions) -> str:
    ended, stop = simulation.ended, options.plan.stop
    text = f"The simulation did not end within {ended.seconds:.0f} s and was stopped."
    if simulation.silent_seconds > ended.seconds / 2 and simulation.function:
        function = simulation.function if simulation.function != "load" else "its loading"
        return (
            f"{text} The FMU did not return from {function} since t = {simulation.time:g} s, "
            f"for {simulation.silent_seconds:.0f} s: it loops, waits, or its step is too hard."
        )
    return (
        f"{text} It reached t = {simulation.time:g} of {stop:g} s; shorten the simulation, "
        "or choose a longer step_size."
    )


def _problem(simulation: FmuSimulation, *, description: Description, at: str) -> ValidationMessage:
    code, text = simulation.answer["code"], simulation.answer["text"]
    log = simulation.log.splitlines()
    last_words = f" The last line of its log: {log[-1][:500]}" if log else ""
    if code == "FMU_NOT_LOADED":
        text = loading_hint(text, unpacked=simulation.unpacked, description=description)
    elif code == "FMU_NO_ADVANCE":
        text = f"The model does not advance {at}: {text}."
    elif code == "FMU_ENDED_EARLY":
        text = f"The model ended the simulation during its initialization, {at}."
    elif code == "FMU_STEP_DISCARDED":
        text = f"The model discarded the step that begins {at}. {text}"
    elif code == "FMU_INVALID_MODEL_DESCRIPTION":
        text = (
            f"{text} To simulate it all the same, set input_values to "
            '{"validibot:relaxed_xml": true} in the step.'
        )
    elif code != "FMU_OUT_OF_MEMORY":
        text = f"{text.rstrip('.')} {at}."
    return error(text.replace(f"{simulation.unpacked}/", "") + last_words, code=code)


def _early_end(
    simulation: FmuSimulation, options: StepOptions, description: Description
) -> Iterator[ValidationMessage]:
    plan, time, answer = options.plan, simulation.time, simulation.answer
    if answer["stuck"]:
        text = (
            f"The model does not advance: it stays at t = {time:g} s of {plan.stop:g} s, because "
            "it discards its step or has events without end."
        )
        yield error(text, code="FMU_NO_ADVANCE")
    elif time >= plan.stop or math.isclose(time, plan.stop):
        return
    elif answer["terminated"]:
        text = f"The model ended the simulation at t = {time:g} s, before {plan.stop:g} s."
        yield error(text, code="FMU_ENDED_EARLY")
    elif plan.stop - time < plan.step and not description.variable_steps:
        text = (
            f"The simulation ends at t = {time:g} s instead of {plan.stop:g} s: the FMU takes only "
            f"steps of equal length, here {plan.step:g} s, and they do not add up."
        )
        yield note(Severity.WARNING, text, code="FMU_STEPS_DO_NOT_FIT")
    else:
        text = f"The simulation ended at t = {time:g} s, before {plan.stop:g} s."
        yield error(text, code="FMU_ENDED_EARLY")


def _not_finite(
    answer: dict[str, Any], variables: list[FmuVariable]
) -> Iterator[ValidationMessage]:
    found = answer.get("not_finite", {})
    for name, first in list(found.items())[:_SHOWN]:
        value = {"nan": "NaN", "inf": "infinity", "-inf": "-infinity"}[first["value"]]
        more = f", the first of {first['count']} samples" if first["count"] > 1 else ""
        text = f"The output {name!r} is {value} at t = {first['time']:g} s{more}."
        yield located(text, name, code="FMU_NOT_FINITE")
    if len(found) > _SHOWN:
        text = f"{len(found) - _SHOWN} of {len(variables)} outputs more are not finite numbers."
        yield error(text, code="FMU_NOT_FINITE")


def _model_messages(answer: dict[str, Any]) -> Iterator[ValidationMessage]:
    """Yield a warning for each kind of message; what failed the simulation is an error already."""
    found = answer.get("messages", [])
    failed = answer.get("code") == "FMU_CALL_FAILED"
    if failed and found and found[-1]["kind"] == "log":
        found = found[:-1]  # the error quotes the last line of the log
    for item in found[:_SHOWN]:
        times = f" ({item['count']} times)" if item["count"] > 1 else ""
        at = f"at t = {item['time']:g} s{times}"
        if item["kind"] == "status":
            text = f"{item['text']} returned a warning {at}."
            yield note(Severity.WARNING, text, code="FMU_WARNING")
        else:
            status = _STATUS.get(item["status"], "message")
            text = f"The model reports ({status}) {at}: {item['text']}"
            yield note(Severity.WARNING, text, code="FMU_MODEL_MESSAGE")
    if len(found) > _SHOWN:
        text = f"The model gave {len(found) - _SHOWN} more kinds of messages; its log has the last."
        yield note(Severity.WARNING, text, code="FMU_MODEL_MESSAGE")


def _relaxed(answer: dict[str, Any]) -> Iterator[ValidationMessage]:
    for problem in answer.get("relaxed", []):
        text = f"modelDescription.xml breaks a rule of FMI and was accepted all the same: {problem}"
        yield note(Severity.WARNING, text, code="FMU_RELAXED_XML")


def _trajectory(answer: dict[str, Any]) -> Iterator[ValidationMessage]:
    if answer.get("cut") is not None:
        text = (
            f"The trajectory is too long: its files end at t = {answer['cut']:g} s, with the last "
            "sample added. Choose fewer output_variables or a longer step_size."
        )
        yield note(Severity.WARNING, text, code="FMU_TRAJECTORY_CUT")
    elif answer.get("kept", 0) < answer.get("samples", 0):
        text = (
            f"The files of the trajectory have {answer['kept']} of {answer['samples']} samples, "
            "evenly spaced; every sample was checked."
        )
        yield note(Severity.INFO, text, code="FMU_TRAJECTORY_THINNED")


def _experiment(options: StepOptions) -> ValidationMessage:
    plan = options.plan
    tolerance = f", tolerance {plan.tolerance:g}" if plan.tolerance else ""
    names = ", ".join(plan.from_model)
    origin = f"; {names} from the model's DefaultExperiment" if names else ""
    text = (
        f"Simulated from {plan.start:g} to {plan.stop:g} s in steps of {plan.step:g} s"
        f"{tolerance}{origin}."
    )
    return note(Severity.INFO, text, code="FMU_EXPERIMENT")


def _in_words(function: str | None) -> str:
    if not function:
        return ""
    return " while its library was loaded" if function == "load" else f" in {function}"


def note(severity: Severity, text: str, *, code: str) -> ValidationMessage:
    """Return a message that is no error."""
    return ValidationMessage(severity=severity, code=code, text=text)


def _is_finite(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
