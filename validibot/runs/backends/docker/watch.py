"""Two threads beside a container: one repeats its words and waits for its end, one keeps its limits."""

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import monotonic

from containers import Container, EngineUnavailable
from validibot.core.logging import bound_run
from validibot.runs.backends.base import LaunchRequest, Phase
from validibot.runs.backends.docker.ending import state_of
from validibot.runs.backends.docker.files import bundle_of, size_of

# From SIGTERM to SIGKILL.
GRACE_SECONDS = 10.0
MAX_LOG_BYTES = 1024 * 1024
_GLANCE_SECONDS = 0.5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Lasts as long as the container, or this process: what it leaves is found by looking."""

    container: Container
    request: LaunchRequest
    max_output_bytes: int
    timed_out: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        over = threading.Event()
        for part in (self._follow, self._limit):
            name = f"{self.container.name}{part.__name__}"
            threading.Thread(target=part, args=(over,), name=name, daemon=True).start()

    def _follow(self, over: threading.Event) -> None:
        with bound_run(self.request.run_id):
            self.container.follow(self._repeat, max_bytes=MAX_LOG_BYTES)
            state = state_of(self.container.name, self.container.wait(), self.container.labels())
            over.set()
            if self.timed_out.is_set():
                state = replace(state, phase=Phase.TIMED_OUT)
            self.request.on_end(state)
            # Only now: what is left of it says how it ended.
            with suppress(EngineUnavailable):
                self.container.remove()

    def _repeat(self, line: str) -> None:
        logger.info("validator: %s", line)

    def _limit(self, over: threading.Event) -> None:
        deadline = monotonic() + self.request.timeout_seconds
        with bound_run(self.request.run_id):
            while not over.wait(_GLANCE_SECONDS):
                with suppress(EngineUnavailable):
                    self._enforce_limits(deadline)

    def _enforce_limits(self, deadline: float) -> None:
        if monotonic() > deadline:
            self.timed_out.set()
            self.container.terminate(grace=GRACE_SECONDS)
        elif size_of(bundle_of(self.request.input_uri)) > self.max_output_bytes:
            self.container.terminate(grace=0)
