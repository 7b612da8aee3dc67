"""Mocked containers: what plays, what has ended, and the threads in which scenarios take time."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from django.db import connection

from validibot.runs.backends.base import ExecutionState, LaunchRequest, Phase

# Of ended ones so many are remembered.
KEPT = 1000

logger = logging.getLogger(__name__)


class Simulator(Protocol):
    """What scenarios do to a run besides ending an execution."""

    def scenario(self, attempt_id: UUID) -> str:
        """Return the scenario that the attempt's run or step asks for, or an empty string."""

    def call_back(self, body: bytes) -> None:
        """Deliver a callback as a validator would post it."""

    def time_out(self, attempt_id: UUID) -> None:
        """Let the attempt's time be over."""

    def cancel(self, run_id: UUID) -> None:
        """Cancel the run, as its user would."""


type Wait = Callable[[threading.Event, float], bool]


def wait(stopped: threading.Event, seconds: float) -> bool:
    """Let time pass; return whether somebody stopped the container meanwhile."""
    return stopped.wait(seconds)


class Container:
    """One execution: like a real one it runs until it ends by itself or is stopped."""

    def __init__(self, request: LaunchRequest, simulator: Simulator) -> None:
        self.request = request
        self.simulator = simulator
        self.name = f"mock-{request.attempt_id}"
        self.state = ExecutionState(phase=Phase.RUNNING, execution=self.name)
        self.stopped = threading.Event()
        self.spoke = threading.Event()
        self.thread: threading.Thread | None = None

    @property
    def runs(self) -> bool:
        return self.state.phase is Phase.RUNNING

    def end(self, phase: Phase, message: str = "", *, out_of_memory: bool = False) -> None:
        self.state = ExecutionState(
            phase=phase, execution=self.name, message=message, out_of_memory=out_of_memory
        )

    def stop(self) -> bool:
        """Stop what runs; return whether it did."""
        if not self.runs:
            return False
        self.end(Phase.CANCELED, "The mocked container was cancelled.")
        self.stopped.set()
        return True

    def start(self, play: Callable[[], None]) -> None:
        """Play in a thread, as a container of its own would."""
        self.thread = threading.Thread(target=self._play, args=(play,), name=self.name, daemon=True)
        self.thread.start()

    def _play(self, play: Callable[[], None]) -> None:
        try:
            play()
        except Exception:
            logger.exception("%s failed", self.name)
            self.end(Phase.FAILED, "The mocked container failed; the log says why.")
            self.request.on_end(self.state)
        finally:
            self.spoke.set()
            connection.close()


class Containers:
    """The containers of this process. Those of another are as unknown here as theirs there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, Container] = {}

    def add(self, container: Container) -> None:
        with self._lock:
            self._found[container.name] = container
            while len(self._found) > KEPT:
                del self._found[next(iter(self._found))]

    def get(self, name: str) -> Container | None:
        return self._found.get(name)

    def find(self, *, job: str, input_uri: str) -> Container | None:
        with self._lock:
            found = list(self._found.values())
        asked = (job, input_uri)
        return next((c for c in found if (c.request.job, c.request.input_uri) == asked), None)

    def join(self, timeout: float) -> bool:
        """Wait until every thread has ended, at most `timeout` seconds; return whether all have."""
        deadline = time.monotonic() + timeout
        with self._lock:
            threads = [each.thread for each in self._found.values() if each.thread]
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)


containers = Containers()
