"""How container validators are executed: launch, look, cancel.

A backend returns facts. It knows URIs and limits, never models, and never decides what becomes of
a run.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from django.core.checks import CheckMessage
from validibot_shared.validations.envelopes import ValidationCallback


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


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchRequest:
    """All that a backend may know of an attempt.

    `ended` may be called, from any thread, when the execution has ended: backends that watch their
    executions save us from looking.
    """

    run_id: UUID
    attempt_id: UUID
    job: str
    command: Sequence[str]
    input_uri: str
    output_uri: str
    timeout_seconds: int
    memory_mb: int
    ended: Callable[[], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """What the provider calls the execution. `callback` comes from backends whose validators
    finish at once and have no way to post it themselves."""

    execution: str
    callback: ValidationCallback | None = None


class Phase(Enum):
    """Where an execution is. ABSENT: the provider is sure that there is none; UNKNOWN: it is not."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    ABSENT = "absent"
    UNKNOWN = "unknown"


ENDED = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELED})


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionState:
    phase: Phase
    execution: str = ""
    message: str = ""


class ExecutionBackend(ABC):
    """`local` twins exist for development and refuse to serve with DEBUG off.

    `posts_callbacks`: validators can reach the worker and are told where it is.
    """

    local = False
    posts_callbacks = True

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

    def check(self) -> Sequence[CheckMessage]:
        """Return what is wrong with the configuration."""
        return []
