"""Observation of a container: its log, its limits, and its end as an execution state."""

import logging
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from containers import Container, ContainerExit, EngineUnavailable
from validibot.core.logging import bound_run
from validibot.runs.backends.base import ExecutionState, LaunchRequest, Phase
from validibot.runs.backends.docker.files import bundle_of, size_of

# Seconds from SIGTERM to SIGKILL.
GRACE_SECONDS = 10.0
MAX_LOG_BYTES = 1024 * 1024
_CHECK_INTERVAL = 0.5

_BUNDLE = "io.validibot.bundle"
_MEMORY = "io.validibot.memory-mb"
_OUTPUT = "io.validibot.output-mb"
_NOT_RUNNABLE = (126, 127)

logger = logging.getLogger(__name__)

# Containers that this process ended because of their time, until that is reported: another look at
# one of them meanwhile must not take the timeout for a failure.
_timed_out: set[str] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Two threads for a container: one reads the log and waits for the end, one enforces the limits.

    They last as long as the container, or this process; then reconcile finds the end of the container.
    """

    container: Container
    request: LaunchRequest
    max_output_bytes: int

    def start(self) -> None:
        ended = threading.Event()
        for part in (self._follow, self._limit):
            name = f"{self.container.name}{part.__name__}"
            threading.Thread(target=part, args=(ended,), name=name, daemon=True).start()

    def _follow(self, ended: threading.Event) -> None:
        with bound_run(self.request.run_id):
            self.container.follow(self._log, max_bytes=MAX_LOG_BYTES)
            exit_ = self.container.wait()
            ended.set()
            labels: Mapping[str, str] = {}
            with suppress(EngineUnavailable):
                labels = self.container.labels()
            state = final_state(self.container.name, exit_, labels)
            try:
                self.request.on_end(state)
            finally:
                _timed_out.discard(self.container.name)
            # Only now: until then the container is asked how it ended.
            with suppress(EngineUnavailable):
                self.container.remove()

    def _log(self, line: str) -> None:
        # A secret may be part of another one.
        for secret in sorted(self.request.secrets.values(), key=len, reverse=True):
            line = line.replace(secret, "***")
        logger.info("validator: %s", line)

    def _limit(self, ended: threading.Event) -> None:
        deadline = monotonic() + self.request.timeout_seconds
        with bound_run(self.request.run_id):
            while not ended.wait(_CHECK_INTERVAL):
                with suppress(EngineUnavailable):
                    self._enforce_limits(deadline)

    def _enforce_limits(self, deadline: float) -> None:
        if monotonic() > deadline:
            _timed_out.add(self.container.name)
            self.container.terminate(grace=GRACE_SECONDS)
        elif size_of(bundle_of(self.request.input_uri)) > self.max_output_bytes:
            self.container.terminate(grace=0)


def exit_labels(*, bundle: Path, memory_mb: int, output_mb: int) -> dict[str, str]:
    """Return the labels of a container by which any process can explain its end."""
    return {_BUNDLE: str(bundle), _MEMORY: str(memory_mb), _OUTPUT: str(output_mb)}


def phase_of(ended: ContainerExit) -> Phase:
    is_well = ended == ContainerExit(child_out_of_memory=ended.child_out_of_memory)
    return Phase.SUCCEEDED if is_well else Phase.FAILED


def final_state(name: str, ended: ContainerExit, labels: Mapping[str, str]) -> ExecutionState:
    """Return the final state of the container `name`."""
    return ExecutionState(
        phase=Phase.TIMED_OUT if name in _timed_out else phase_of(ended),
        execution=name,
        message=failure_message(ended, labels),
        out_of_memory=ended.out_of_memory or ended.child_out_of_memory,
    )


def failure_message(ended: ContainerExit, labels: Mapping[str, str]) -> str:
    """Return a sentence on the exit of a container with these labels."""
    return next(_sentences(ended, labels))


def _sentences(ended: ContainerExit, labels: Mapping[str, str]) -> Iterator[str]:
    """Yield the possible causes, the most specific first."""
    memory = f"{_number(labels, _MEMORY)} MB of memory that it may use"
    if ended.lost:
        yield "Its container ended with the Docker engine, or was removed. Launch the run again."
    if ended.out_of_memory:
        yield f"It used more than the {memory}."
    if _wrote_too_much(labels):
        yield f"It wrote more than the {_number(labels, _OUTPUT)} MB that it may write."
    if ended.child_out_of_memory:
        yield f"One of its processes used more than was left of the {memory}."
    if ended.signal:
        yield f"It was ended by {signal.Signals(ended.signal).name}."
    if ended.code in _NOT_RUNNABLE:
        yield f"Its program cannot be run (exit code {ended.code}): the image is broken."
    yield f"It ended with exit code {ended.code}."


def _wrote_too_much(labels: Mapping[str, str]) -> bool:
    if _BUNDLE not in labels:
        return False
    return size_of(Path(labels[_BUNDLE])) > int(labels[_OUTPUT]) * 2**20


def _number(labels: Mapping[str, str], label: str) -> str:
    return f"{int(labels.get(label, '0')):,}"
