"""How a container ended, in words for whoever waits for its run."""

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

from containers import ContainerExit
from validibot.runs.backends.base import ExecutionState, Phase
from validibot.runs.backends.docker.files import size_of

_BUNDLE = "io.validibot.bundle"
_MEMORY = "io.validibot.memory-mb"
_OUTPUT = "io.validibot.output-mb"
_NOT_RUNNABLE = (126, 127)


def labels(*, bundle: Path, memory_mb: int, output_mb: int) -> dict[str, str]:
    """Return what a container carries so that its end can be explained by any process of ours."""
    return {_BUNDLE: str(bundle), _MEMORY: str(memory_mb), _OUTPUT: str(output_mb)}


def phase_of(ended: ContainerExit) -> Phase:
    is_well = ended == ContainerExit(child_out_of_memory=ended.child_out_of_memory)
    return Phase.SUCCEEDED if is_well else Phase.FAILED


def state_of(name: str, ended: ContainerExit, carried: Mapping[str, str]) -> ExecutionState:
    """Return the final state of the container `name` that carried these labels."""
    return ExecutionState(
        phase=phase_of(ended),
        execution=name,
        message=failure_message(ended, carried),
        out_of_memory=ended.out_of_memory or ended.child_out_of_memory,
    )


def failure_message(ended: ContainerExit, carried: Mapping[str, str]) -> str:
    """Return a sentence on the container that carried these labels."""
    return next(_sentences(ended, carried))


def _sentences(ended: ContainerExit, carried: Mapping[str, str]) -> Iterator[str]:
    """Yield what may be said, the nearest cause first."""
    memory = f"{_number(carried, _MEMORY)} MB of memory that it may use"
    if ended.lost:
        yield "Its container went with the Docker engine, or was removed. Launch the run again."
    if ended.out_of_memory:
        yield f"It needed more than the {memory}."
    if _wrote_too_much(carried):
        yield f"It wrote more than the {_number(carried, _OUTPUT)} MB that it may write."
    if ended.child_out_of_memory:
        yield f"One of its processes needed more than was left of the {memory}."
    if ended.signal:
        yield f"It was ended by {signal.Signals(ended.signal).name}."
    if ended.code in _NOT_RUNNABLE:
        yield f"Its program cannot be run (exit code {ended.code}): the image is broken."
    yield f"It ended with exit code {ended.code}."


def _wrote_too_much(carried: Mapping[str, str]) -> bool:
    if _BUNDLE not in carried:
        return False
    return size_of(Path(carried[_BUNDLE])) > int(carried[_OUTPUT]) * 2**20


def _number(carried: Mapping[str, str], label: str) -> str:
    return f"{int(carried.get(label, '0')):,}"
