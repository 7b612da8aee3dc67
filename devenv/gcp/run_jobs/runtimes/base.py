"""What a runtime is: it starts attempts of tasks, finds them again and ends them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Set as AbstractSet
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One container that is to run once: try `number` (from 0) of the task `index`."""

    execution: str
    index: int
    number: int
    image: str
    account: str
    memory: int
    cpus: float = 1.0
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str]

    @property
    def name(self) -> str:
        """Return the name by which a later process of the emulator finds this attempt."""
        return f"{self.execution}-task{self.index}-{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a container ended.

    `terminated`: it was asked to end before it did. `lost`: it is gone and nobody saw how.
    """

    code: int = 0
    signal: int = 0
    terminated: bool = False
    out_of_memory: bool = False
    lost: bool = False


class CannotStart(Exception):
    """The machine refused to start the container; the message says why, in a sentence."""


class Running(ABC):
    """An attempt that was started."""

    @abstractmethod
    async def wait(self) -> Exit:
        """Return how it ended, once it has."""

    @abstractmethod
    def terminate(self) -> None:
        """Ask it to end: SIGTERM, and SIGKILL for all that is left of it ten seconds later."""

    @abstractmethod
    def discard(self) -> None:
        """Forget it, now that its end is recorded; until then `adopt` finds it."""


class Runtime(ABC):
    """Starts attempts."""

    @abstractmethod
    async def pin(self, image: str) -> str | None:
        """Return an image by its digest; None if nobody has it. Raises CannotStart."""

    @abstractmethod
    def hint(self, image: str) -> str:
        """Return a sentence on what to do about an image that nobody has."""

    @abstractmethod
    async def start(self, attempt: Attempt) -> Running:
        """Start an attempt. Raises CannotStart."""

    @abstractmethod
    async def adopt(self, attempt: Attempt) -> Running | None:
        """Return an attempt that an earlier process of the emulator started, running or ended.

        None if it never came to run.
        """

    @abstractmethod
    async def open(self, keep: AbstractSet[str]) -> None:
        """Get ready; end every attempt from before whose name is not in `keep`."""

    @abstractmethod
    async def close(self) -> None:
        """Stop everything that runs, so that it is as if never started."""

    def prepare(self, attempt: Attempt) -> None:  # noqa: B027 - most need no preparation
        """Expect attempts like this one soon."""
