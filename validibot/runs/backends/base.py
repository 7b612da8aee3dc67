"""Interface of execution backends: launch an execution of a validator, ask for its state, cancel it.

A backend returns facts. It knows URIs and limits, never models, and never decides how a run goes on.
Two of its answers matter most:

- A launch that fails raises LaunchError, which says whether an execution can exist. If it certainly
  does not, the caller may launch again; if it may, the caller must ask `find` first.
- An execution that ends has a phase. TIMED_OUT means that the time limit of the manifest ended it:
  one limit, enforced by the provider or by the backend, and never by both.
"""

from abc import ABC, abstractmethod
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set as AbstractSet,
)
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar
from uuid import UUID

from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from validators.sdk.manifest import NetworkReach
from validibot.workflows.validator_secrets import SecretSource

# Returns those of the attempts that have ended.
type Over = Callable[[AbstractSet[UUID]], AbstractSet[UUID]]


class LaunchError(Exception):
    """The launch failed.

    `not_accepted`: there is certainly no execution (no token, no connection, a refusal), so the launch
    can be repeated. Otherwise the provider may have accepted it, and the launch must not be repeated
    before `find` shows that there is no execution.
    `permanent`: the provider refused and would refuse again; implies `not_accepted`.
    """

    def __init__(
        self, message: str, *, permanent: bool = False, not_accepted: bool = False
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.not_accepted = not_accepted or permanent


class JobRefused(Exception):
    """The provider refused the job of a custom validator; the message says why."""


class StateUnavailable(Exception):
    """The provider does not answer now."""


class Phase(Enum):
    """Phase of an execution.

    TIMED_OUT: its time limit ended it. ABSENT: there is certainly no such execution. UNKNOWN: the
    provider cannot tell.
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
    """State of an execution. `image_digest` as in Launch; `message` says why it did not succeed."""

    phase: Phase
    execution: str = ""
    image_digest: str = ""
    message: str = ""
    out_of_memory: bool = False


def _noop(_state: ExecutionState) -> None:
    """Ignore the end of an execution."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchRequest:
    """Everything that a backend may know of an attempt.

    `capability_url` is where a validator renews its storage token. A backend that watches its
    executions calls `on_end` with the final state, once and from a thread of its own; the end of
    all others is found by asking `state`.
    `network` is what a custom validator asks for, None for those of the product. `secrets` are the
    values of its secrets by name; none where the provider has them. They are never shown.
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
    network: NetworkReach | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    on_end: Callable[[ExecutionState], None] = _noop


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """Accepted launch: the provider's name for the execution.

    `image_digest` (`sha256:…`) pins the image, if the provider tells it already. `secrets` are the
    references of the secrets that the execution gets, by name, where the provider has them.
    """

    execution: str
    image_digest: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageNeeds:
    """Needs of a custom validator beside its image: a network, and secrets by name.

    `organisation` is the number of its organisation, as a text.
    """

    organisation: str
    network: NetworkReach | None
    secrets: Collection[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class JobDefinition:
    """The job of a custom validator: its name without a prefix, image, version, limits and labels.

    `secrets` are references to secrets of the provider, by the names of their variables.
    """

    name: str
    image: str
    version: str
    timeout_seconds: int
    memory_mb: int
    labels: Mapping[str, str]
    organisation: str = ""
    network: NetworkReach | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)


class BackendOptions(BaseModel):
    """OPTIONS of a backend; unknown names and wrong types are refused.

    `allow_without_debug` lets a `local` backend serve although DEBUG is off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    allow_without_debug: bool = False


class ExecutionBackend(ABC):
    """Base class of execution backends. They keep no state between calls.

    `local`: meant for development; refuses to serve with DEBUG off unless told otherwise.
    `shares_our_user`: submitted models are executed as the user of the worker.
    `posts_callbacks`: validators can reach the worker and are told its URL.
    `confines`: validators can access only their attempt's folder, so their inputs are copied there.
    `plays_scenarios`: a run, a step or a file may select how its validator behaves.
    `runs_images`: validators run from images, so organisations may register their own.
    `secret_source`: where the values of the secrets of custom validators are.
    """

    options_class: ClassVar[type[BackendOptions]] = BackendOptions
    options: BackendOptions

    local = False
    shares_our_user = False
    posts_callbacks = True
    confines = False
    plays_scenarios = False
    runs_images = False
    secret_source = SecretSource.DATABASE

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        """Parse the options. Raises ImproperlyConfigured if one is wrong."""
        self.where = f"EXECUTION_BACKENDS[{alias!r}]"
        try:
            self.options = self.options_class.model_validate(dict(params.get("OPTIONS", {})))
        except ValidationError as error:
            faults = "; ".join(_fault(fault) for fault in error.errors(include_url=False))
            known = ", ".join(self.options_class.model_fields)
            raise ImproperlyConfigured(
                f"{self.where}: OPTIONS: {faults}. Known options: {known}."
            ) from None

    @abstractmethod
    def launch(self, request: LaunchRequest) -> Launch:
        """Start an execution. Raises LaunchError."""

    def state(self, execution: str) -> ExecutionState:
        """Return the state of an execution. Raises StateUnavailable."""
        return ExecutionState(phase=Phase.UNKNOWN, execution=execution)

    def find(self, *, job: str, input_uri: str) -> ExecutionState:
        """Return the state of an attempt's execution whose launch had no answer.

        Raises StateUnavailable.
        """
        return ExecutionState(phase=Phase.UNKNOWN)

    def cancel(self, execution: str) -> bool:
        """Stop an execution; return whether there was one to stop. Raises StateUnavailable."""
        return False

    def refusals(self, needs: ImageNeeds) -> Iterator[str]:
        """Yield a sentence for each need of a custom validator that cannot be met here."""
        if not self.runs_images:
            text = _(
                "This site runs validators in a way that takes no images of organisations: its operator"
                " has to choose another EXECUTION_BACKEND."
            )
            yield text

    def calls_back(self, network: NetworkReach | None) -> bool:
        """Return whether a validator with this network is told the worker's URL."""
        return self.posts_callbacks

    def prepare(self, job: JobDefinition) -> None:
        """Make sure that the provider has the job of a custom validator; a repetition changes nothing.

        Nothing is to be done where validators are no jobs. Raises JobRefused and StateUnavailable.
        """
        return

    def job_names(self) -> Iterable[str]:
        """Return the names of the jobs that the provider has for this site, if it can tell them.

        Raises StateUnavailable.
        """
        return ()

    def remove_job(self, job: str) -> None:
        """Delete a job; a repetition changes nothing. Raises StateUnavailable."""
        return

    def check_job(self, job: str) -> None:
        """Ask the provider whether this process may launch the job of a validator and follow it.

        Nothing is launched, and nothing asked where validators are no jobs. Raises StateUnavailable.
        """
        return

    def check_preparation(self) -> None:
        """Ask the provider whether this process may make jobs of custom validators; none is made.

        Raises StateUnavailable.
        """
        return

    def sweep(self, over: Over) -> int:
        """Remove the leftovers of attempts that have ended; return how many.

        Raises StateUnavailable.
        """
        return 0

    def check(self) -> Sequence[CheckMessage]:
        """Return the problems of the configuration."""
        return []


def _fault(fault: ErrorDetails) -> str:
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown option {name!r}"
    if fault["type"] == "missing":
        return f"{name} is missing"
    return f"{name} is {fault['input']!r}: {fault['msg']}"
