"""Child program that loads the FMU's native code: reads a job, writes an answer, or crashes.

Run by path and isolated from the environment, so it imports nothing of ours. FMPy simulates; its
recorder is replaced by one that knows every type and writes each sample at once. The file
`progress` is mapped into memory, so that the parent can read from it where the process died.
"""

import base64
import csv
import json
import math
import mmap
import os
import struct
import sys
from collections import Counter
from ctypes import c_char_p, c_uint
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from fmpy import fmi1, simulation
from fmpy.fmi1 import FMICallException
from fmpy.model_description import ValidationError, read_model_description

_PROGRESS = struct.Struct("=dd?48s")
_WARNING, _DISCARD = 1, 2
_EVENT_ITERATIONS = 10_000
_EVENTS_AT_ONE_TIME = 1000
_KINDS_OF_MESSAGES, _MESSAGE_LENGTH = 50, 500


class NoAdvanceError(Exception):
    """The model does not come to the next point in time."""


class SimulationProgress:
    """Simulated time, time of its last advance, and the FMI function that runs."""

    def __init__(self, path: Path, *, start: float) -> None:
        with path.open("w+b") as file:
            file.truncate(_PROGRESS.size)
            self._memory = mmap.mmap(file.fileno(), _PROGRESS.size)
        self.time = start
        self._advanced = monotonic()
        self.tell("", inside=False)

    def advance(self, time: float) -> None:
        self.time, self._advanced = time, monotonic()

    def tell(self, function: str, *, inside: bool) -> None:
        name = function.encode()[:48]
        _PROGRESS.pack_into(self._memory, 0, self.time, self._advanced, inside, name)


class Messages:
    """Messages of the model and warnings of its functions: the first of each kind, counted."""

    def __init__(self, progress: SimulationProgress) -> None:
        self._progress = progress
        self._times: dict[tuple[str, int, str], float] = {}
        self._counts: Counter[tuple[str, int, str]] = Counter()

    def add(self, kind: str, status: int, text: str) -> None:
        key = (kind, status, text[:_MESSAGE_LENGTH])
        if key in self._times or len(self._times) < _KINDS_OF_MESSAGES:
            self._times.setdefault(key, self._progress.time)
            self._counts[key] += 1

    def log(self, *arguments: Any) -> None:
        """Take a message: (environment, [name,] status, category, text) of FMI 2 or 3."""
        status, text = arguments[-3], (arguments[-1] or b"").decode(errors="replace").strip()
        names = ("OK", "WARNING", "DISCARD", "ERROR", "FATAL", "PENDING")
        name = names[status] if 0 <= status < len(names) else str(status)
        os.write(1, f"[{name}] {text}\n".encode())
        if status >= _WARNING:
            self.add("log", status, text)

    def listed(self) -> list[dict[str, Any]]:
        return [
            {"kind": kind, "status": status, "text": text, "time": time, "count": self._counts[key]}
            for key, time in self._times.items()
            for kind, status, text in [key]
        ]


class Recorder:
    """Values of the outputs: checked at every sample, written to a CSV file within limits."""

    def __init__(self, job: dict[str, Any], path: Path) -> None:
        self._job, self._outputs = job, job["outputs"]
        self._room, self._bytes, self._written = job["value_limit"], 0, True
        # Line by line, so that the samples before a crash are kept.
        self._file = path.open("w", buffering=1, encoding="utf-8", newline="")
        self._writer = csv.writer(self)
        self._writer.writerow(job["header"])
        self.not_finite: dict[str, dict[str, Any]] = {}
        self.samples = self.kept = 0
        self.time: float = job["start_time"]
        self.row: list[Any] = []
        self.cut: float | None = None

    def write(self, text: str) -> None:
        """Write a line of the CSV file."""
        self._bytes += len(text)
        self._file.write(text)

    def bind(self, fmu: Any, **_: Any) -> "Recorder":
        """Take the instance to read from; FMPy calls this like its own recorder's class."""
        self.fmu = fmu
        return self

    def sample(self, time: float, force: bool = False) -> None:
        """Read all outputs at a time; FMPy's loops call this."""
        flat: list[Any] = []
        for kind, references, size in self._job["groups"]:
            flat += self._read(kind, references, size)
        self.row = [flat[index] for index in self._job["order"]]
        self.time = time
        self._check()
        if self.samples % self._job["stride"] and not force:
            self._written = False
        else:
            self._keep()
        self.samples += 1

    def result(self) -> None:
        """Write the last sample if it was left out, and close the file."""
        if not self._written and self.samples:
            self._writer.writerow([self.time, *self.row])
            self.kept += 1
        self._file.close()

    def values(self) -> dict[str, Any]:
        """Return the last value of each output; arrays are nested by dimension."""
        if not self.row:
            return {}
        found, first = {}, 0
        for output in self._outputs:
            items = self.row[first : first + output["size"]]
            found[output["name"]] = _nested(items, output["shape"])
            first += output["size"]
        return found

    def _read(self, kind: str, references: list[int], size: int) -> list[Any]:
        fmu, is_fmi3 = self.fmu, self._job["fmi3"]
        if kind == "Enumeration":
            kind = "Int64" if is_fmi3 else "Integer"
        if not is_fmi3:
            values = getattr(fmu, f"get{kind}")(references)
            if kind == "Boolean":
                return [value != 0 for value in values]
            return [_text(value) for value in values] if kind == "String" else values
        if kind == "String":
            # FMPy fails at texts that are missing or not UTF-8.
            pointers = (c_char_p * size)()
            count = len(references)
            fmu.fmi3GetString(fmu.component, (c_uint * count)(*references), count, pointers, size)
            return [_text(value) for value in pointers]
        values = getattr(fmu, f"get{kind}")(references, size)
        if kind == "Binary":
            return [base64.b64encode(value or b"").decode() for value in values]
        return list(values)

    def _keep(self) -> None:
        self._written = False
        if self._room < len(self.row) or self._bytes > self._job["byte_limit"]:
            self.cut = self.time if self.cut is None else self.cut
            return
        self._writer.writerow([self.time, *self.row])
        self._room -= len(self.row) + 1
        self._written = True
        self.kept += 1

    def _check(self) -> None:
        for name, value in zip(self._job["columns"], self.row, strict=True):
            if isinstance(value, float) and not math.isfinite(value):
                found = self.not_finite.setdefault(
                    name, {"time": self.time, "value": str(value), "count": 0}
                )
                found["count"] += 1


class InstanceWatch:
    """Watch over one instance: warnings, termination, and progress in time."""

    def __init__(self, progress: SimulationProgress, messages: Messages) -> None:
        self._progress, self._messages = progress, messages
        self._iterations = self._repeats = 0
        self._last = -math.inf
        self.terminated = self.stuck = self.has_event_mode = False

    def install(self) -> None:
        """Watch every FMI call."""
        progress, messages = self._progress, self._messages
        base = fmi1._FMU  # noqa: SLF001 - the one place that all calls of all versions pass
        call = base._call  # noqa: SLF001

        def watched(fmu: Any, name: str, *arguments: Any) -> Any:
            progress.tell(name, inside=True)
            try:
                result = call(fmu, name, *arguments)
            finally:
                progress.tell(name, inside=False)
            if result == _WARNING and "Instantiate" not in name:
                messages.add("status", _WARNING, name)
            return result

        base._call = watched  # noqa: SLF001

    def attach(self, fmu: Any, recorder: Recorder, *, stop: float) -> None:
        """Watch what the instance answers, and take the values at an event that ends the run."""
        for name, place in (
            *(("newDiscreteStates", 1), ("updateDiscreteStates", 1)),
            *(("completedIntegratorStep", 1), ("doStep", 1), ("getBooleanStatus", None)),
        ):
            if function := getattr(fmu, name, None):
                setattr(fmu, name, self._noting(function, place))
        terminate = fmu.terminate

        def finish() -> Any:
            if self.terminated and hasattr(fmu, "setTime") and self._progress.time < stop:
                recorder.sample(self._progress.time, force=True)
            return terminate()

        fmu.terminate = finish
        if set_time := getattr(fmu, "setTime", None):

            def set_time_and_note(time: float) -> Any:
                self._iterations = 0
                self._progress.advance(time)
                return set_time(time)

            fmu.setTime = set_time_and_note

    def _noting(self, function: Any, place: int | None) -> Any:
        def noting(*arguments: Any, **options: Any) -> Any:
            result = function(*arguments, **options)
            if function.__name__.endswith("DiscreteStates"):
                self._iterations += 1
                if self._iterations > _EVENT_ITERATIONS:
                    raise NoAdvanceError("its event iteration does not end")
            if place is None:
                self.terminated = self.terminated or bool(result)
            elif isinstance(result, tuple) and result[place]:
                self.terminated = True
                if function.__name__ == "doStep":
                    # FMI 3: the time that was reached counts, so FMPy must use it.
                    event, _, _, time = result
                    return event, True, True, time
            return result

        return noting

    def step_finished(self, time: float, recorder: Recorder) -> bool:
        """Note the time; return False if the model does not advance. FMPy calls this."""
        self._progress.advance(time)
        self._iterations = 0
        if self.terminated:  # FMPy does not look at this after an event of co-simulation
            return False
        if time > self._last:
            self._last, self._repeats = time, 0
            return True
        self._repeats += 1
        has_events = hasattr(recorder.fmu, "setTime") or self.has_event_mode
        self.stuck = self._repeats >= (_EVENTS_AT_ONE_TIME if has_events else 1)
        return not self.stuck


def main(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    # FMPy prints hints for programmers; the model's own prints do not come through here.
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process
    progress = SimulationProgress(folder / "progress", start=job["start_time"])
    messages = Messages(progress)
    recorder = Recorder(job, folder / "trajectory.csv")
    watch = InstanceWatch(progress, messages)
    answer: dict[str, Any] = {}
    fmu = None
    try:
        description = _description(job, answer)
        progress.tell("load", inside=True)
        fmu = _instance(job, description, watch, messages)
        progress.tell("load", inside=False)
        watch.attach(fmu, recorder, stop=job["stop_time"])
        _simulate(job, description, fmu, watch=watch, recorder=recorder)
    except Exception as error:  # noqa: BLE001 - fmpy raises bare Exceptions about the FMU
        answer |= _problem(error, has_instance=fmu is not None, has_stopped=watch.terminated)
        recorder.result()
    answer |= {
        "values": recorder.values(),
        "time": recorder.time,
        "samples": recorder.samples,
        "kept": recorder.kept,
        "cut": recorder.cut,
        "not_finite": recorder.not_finite,
        "messages": messages.listed(),
        "terminated": watch.terminated,
        "stuck": watch.stuck,
    }
    part = folder / "answer.part"
    part.write_text(json.dumps(answer))
    part.rename(folder / "answer.json")
    if fmu is not None and "code" not in answer:
        fmu.freeInstance()
        progress.tell("", inside=False)


def _description(job: dict[str, Any], answer: dict[str, Any]) -> Any:
    try:
        return read_model_description(job["folder"], validate=True)
    except ValidationError as error:
        if not job["relaxed"]:
            raise
        answer["relaxed"] = [str(problem)[:_MESSAGE_LENGTH] for problem in error.problems[:20]]
    return read_model_description(job["folder"], validate=False)


def _instance(
    job: dict[str, Any], description: Any, watch: InstanceWatch, messages: Messages
) -> Any:
    watch.install()
    interface = description.coSimulation
    # Such an FMU tells its events and takes inputs at them: FMI 3.0.2, section 4.2.
    watch.has_event_mode = job["fmi3"] and bool(interface and interface.hasEventMode)
    return simulation.instantiate_fmu(
        job["folder"],
        description,
        "ModelExchange" if interface is None else "CoSimulation",
        logger=messages.log,
        early_return_allowed=watch.has_event_mode,
        event_mode_used=watch.has_event_mode,
        require_functions=not job["relaxed"],
    )


def _simulate(
    job: dict[str, Any], description: Any, fmu: Any, *, watch: InstanceWatch, recorder: Recorder
) -> None:
    # FMPy offers no other way to give it a recorder.
    simulation.Recorder = recorder.bind
    simulation.simulate_fmu(
        job["folder"],
        validate=not job["relaxed"],
        start_time=job["start_time"],
        stop_time=job["stop_time"],
        output_interval=job["step_size"],
        relative_tolerance=job["tolerance"],
        start_values=job["start_values"],
        input=_series(job["series"]),
        step_finished=watch.step_finished,
        model_description=description,
        fmu_instance=fmu,
        remote_platform=None,
        early_return_allowed=True,
        use_event_mode=watch.has_event_mode,
    )


def _series(series: dict[str, Any] | None) -> Any:
    """Return the inputs over time as FMPy takes them: a structured array with the time first."""
    if series is None:
        return None
    table = np.empty(series["rows"], dtype=[tuple(column) for column in series["columns"]])
    with Path(series["path"]).open("rb") as file:
        for name, kind in series["columns"]:
            table[name] = np.fromfile(file, dtype=kind, count=series["rows"])
    return table


def _problem(error: Exception, *, has_instance: bool, has_stopped: bool) -> dict[str, str]:
    """Return code and text of an error; the parent completes the sentence with the time."""
    text = " ".join(str(error).split())[:2000] or type(error).__name__
    match error:
        case FMICallException(status=status):
            code = "FMU_STEP_DISCARDED" if status == _DISCARD else "FMU_CALL_FAILED"
        case ValidationError():
            code = "FMU_INVALID_MODEL_DESCRIPTION"
        case MemoryError():
            code, text = "FMU_OUT_OF_MEMORY", "The simulation ran out of memory."
        case NoAdvanceError():
            code = "FMU_NO_ADVANCE"
        case _ if has_stopped and "terminat" in text:
            code = "FMU_ENDED_EARLY"
        case _:
            code = "FMU_SIMULATION_FAILED" if has_instance else "FMU_NOT_LOADED"
    return {"code": code, "text": text}


def _nested(items: list[Any], shape: list[int]) -> Any:
    return np.array(items, dtype=object).reshape(shape).tolist() if shape else items[0]


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
