"""The interface of a runtime: it starts attempts of tasks, finds them again and ends them.

Beside it what the runtimes share: the log file of each attempt, names of images and their digests,
and blocking calls in threads that nothing has to wait for.
"""

import asyncio
import hashlib
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence, Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeAlias, TypeVar

from devenv.gcp.config import ImageConfig

_T = TypeVar("_T")


VolumeFiles: TypeAlias = Mapping[str, Mapping[str, bytes]]
"""Of each mount path the files below it, by relative path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatedAttempt:
    """One container that is to run once: try `number` (from 0) of the task `index`.

    Of a service, `execution` is a revision and `index` counts its instances; `kind` tells them
    apart in names. `files` are read-only; `sockets` maps folders in the container to those of here.
    """

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
    files: VolumeFiles = field(default_factory=dict)
    sockets: Mapping[str, str] = field(default_factory=dict)
    kind: str = "task"

    @property
    def name(self) -> str:
        """Return the name by which a later process of the emulator finds this attempt."""
        return f"{self.execution}-{self.kind}{self.index}-{self.number}"

    @property
    def instance_id(self) -> str:
        """Return the label `instanceId` of its log entries."""
        return hashlib.sha256(self.name.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptExit:
    """How a container ended.

    `terminated`: it was asked to end before it did. `lost`: it is gone and nobody saw how.
    """

    code: int = 0
    signal: int = 0
    terminated: bool = False
    out_of_memory: bool = False
    lost: bool = False


class AttemptNotStarted(Exception):
    """The machine refused to start the container; the message says why, in a sentence."""


class OutputStream(Enum):
    """Where a line of output comes from; SYSTEM is Cloud Run itself."""

    STDOUT = "1"
    STDERR = "2"
    SYSTEM = "s"


# Cloud Run keeps a line of up to 256 KB in one entry; of a longer one, pieces are entries here.
LONGEST_LINE = 240 << 10  # bytes
LONGEST_SHOWN = 16_384  # characters of a line in the emulator's own log
OutputLine: TypeAlias = tuple[OutputStream, str]
OutputSink: TypeAlias = Callable[[EmulatedAttempt, Sequence[OutputLine]], object]
"""Takes the lines that a container prints, in the thread of the event loop."""


def no_sink(_attempt: EmulatedAttempt, _lines: Sequence[OutputLine]) -> None:
    """Take lines that nobody keeps."""


class RunningAttempt(ABC):
    """An attempt that was started."""

    @abstractmethod
    async def wait(self) -> AttemptExit:
        """Return how it ended, once it has."""

    @abstractmethod
    def terminate(self) -> None:
        """Ask it to end: SIGTERM, and SIGKILL for all that is left of it ten seconds later."""

    async def memory(self) -> int:
        """Return the bytes of memory that it holds at the moment, 0 if nobody knows."""
        return 0

    @abstractmethod
    def discard(self) -> None:
        """Forget it, now that its end is recorded; until then `adopt` finds it."""


class JobsRuntime(ABC):
    """Starts attempts; `on_lines` gets their output."""

    on_lines: OutputSink = staticmethod(no_sink)

    @abstractmethod
    async def pin(self, image: str) -> str | None:
        """Return an image by its digest; None if nobody has it. Raises AttemptNotStarted."""

    @abstractmethod
    def hint(self, image: str) -> str:
        """Return a sentence on what to do about an image that nobody has."""

    @abstractmethod
    async def start(self, attempt: EmulatedAttempt) -> RunningAttempt:
        """Start an attempt. Raises AttemptNotStarted."""

    @abstractmethod
    async def adopt(self, attempt: EmulatedAttempt) -> RunningAttempt | None:
        """Return an attempt that an earlier process of the emulator started, running or ended.

        None if it never came to run.
        """

    @abstractmethod
    async def open(self, keep: AbstractSet[str]) -> None:
        """Get ready; end every attempt from before whose name is not in `keep`."""

    @abstractmethod
    async def close(self) -> None:
        """Stop everything that runs, so that it is as if never started."""

    @abstractmethod
    def port(self, wanted: int) -> int:
        """Return the port for a new instance of a service, whose container wants this one."""

    @abstractmethod
    async def host(self, attempt: EmulatedAttempt) -> str:
        """Return the address at which a running instance can be reached. Raises AttemptNotStarted."""

    async def account_at(self, address: str) -> str | None:
        """Return the email of the account whose container has this address, None without one."""
        return None

    def prepare(self, attempt: EmulatedAttempt) -> None:  # noqa: B027 - most need no preparation
        """Expect attempts like this one soon."""


_KEPT = 7 * 86400  # seconds


def log_of(folder: Path, attempt: EmulatedAttempt) -> Path:
    return folder / attempt.execution / f"{attempt.kind}{attempt.index}-{attempt.number}.log"


def forget_old(folder: Path) -> None:
    for logs in folder.glob("*"):
        if time.time() - logs.stat().st_mtime > _KEPT:
            shutil.rmtree(logs, ignore_errors=True)


def in_thread(call: Callable[[], _T]) -> asyncio.Future[_T]:
    """Start `call`; unlike an executor's, its thread does not hold the process up.

    Containers may run for days, and an engine that hangs gives no answer.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome: tuple[_T | None, BaseException | None] = (call(), None)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            outcome = (None, error)
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="container", daemon=True).start()
    return future


def digest(image: str) -> str:
    """Return the digest form of an image name: what a real execution shows for a tag.

    It is made from the name alone, since there is no registry that knows the contents.
    """
    if "@" in image:
        return image
    return f"{repository(image)}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def repository(image: str) -> str:
    """Return an image's name without its tag or digest."""
    name, _, tag = image.partition("@")[0].rpartition(":")
    return name if name and "/" not in tag else image.partition("@")[0]


def by_digest(images: Iterable[ImageConfig]) -> dict[str, ImageConfig]:
    """Return the images for which devenv.toml names a command, under their digest forms."""
    return {digest(image.name): image for image in images if image.command}
