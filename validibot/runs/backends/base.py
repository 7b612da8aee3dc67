"""How container validators are executed: launch, look, cancel.

A backend returns facts. It knows URIs and limits, never models, and never decides what becomes of
a run.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from django.core.checks import CheckMessage

# Asked which of these attempts are over.
type Over = Callable[[AbstractSet[UUID]], AbstractSet[UUID]]


class LaunchError(Exception):
    """The execution was not, or perhaps not, started.

    `permanent`: the provider refused, and would again. Otherwise nobody knows whether it accepted,
    so the launch must not be repeated before a look proves that there is no execution.
    """

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class StateUnavailable(Exception):
    """The provider cannot be asked now."""


class Phase(Enum):
    """The phase of an execution. ABSENT: the provider is sure that there is none; UNKNOWN: it is not.

    TIMED_OUT: it was ended because its time was over, by the provider or by the backend.
    """

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"
    ABSENT = "absent"
    UNKNOWN = "unknown"


ENDED = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELED, Phase.TIMED_OUT})


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionState:
    """What a provider says about an execution. `image_digest` as in a Launch."""

    phase: Phase
    execution: str = ""
    image_digest: str = ""
    message: str = ""
    out_of_memory: bool = False


def _noop(_: ExecutionState) -> None:
    """Ignore the end of an execution."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchRequest:
    """Everything that a backend may know of an attempt.

    `capability_url` is where a validator renews its storage token. A backend that watches its
    executions calls `on_end` with the final state, once and from a thread of its own; the end of
    all others is found by asking `state`.
    """

    run_id: UUID
    attempt_id: UUID
    job: str
    image: str
    command: Sequence[str]
    input_uri: str
    output_uri: str
    capability_url: str
    timeout_seconds: int
    memory_mb: int
    on_end: Callable[[ExecutionState], None] = _noop


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """The provider's name for an execution. `image_digest` pins the image, if it is known already:
    `sha256:…`."""

    execution: str
    image_digest: str = ""


class ExecutionBackend(ABC):
    """`local` twins exist for development and refuse to serve with DEBUG off.

    `shares_our_user`: what people submit is executed as the user of the worker.
    `posts_callbacks`: validators can reach the worker and are told where it is.
    `confines`: validators have a right to their attempt's folder alone, so all they need is in it.
    `plays_scenarios`: a run, a step or a file may say how its validator is to behave.
    """

    local = False
    shares_our_user = False
    posts_callbacks = True
    confines = False
    plays_scenarios = False

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        self.alias = alias
        self.options: Mapping[str, Any] = params.get("OPTIONS", {})

    @abstractmethod
    def launch(self, request: LaunchRequest) -> Launch:
        """Start an execution. Raises LaunchError."""

    def state(self, execution: str) -> ExecutionState:
        """Say where an execution is. Raises StateUnavailable."""
        return ExecutionState(phase=Phase.UNKNOWN, execution=execution)

    def find(self, *, job: str, input_uri: str) -> ExecutionState:
        """Look for the execution of an attempt whose launch had no answer. Raises StateUnavailable."""
        return ExecutionState(phase=Phase.UNKNOWN)

    def cancel(self, execution: str) -> bool:
        """Stop an execution; return whether there was one to stop. Raises StateUnavailable."""
        return False

    def sweep(self, over: Over) -> int:
        """Remove what is left of attempts that are over; return how many. Raises StateUnavailable."""
        return 0

    def check(self) -> Sequence[CheckMessage]:
        """Return what is wrong with the configuration."""
        return []
