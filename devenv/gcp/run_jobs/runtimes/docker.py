"""The `docker` runtime: real images, hardened, in a network with nothing but the emulated cloud."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Set as AbstractSet
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import TypeAlias, TypeVar

from containers import (
    DEFAULT_USER,
    Container,
    ContainerEngine,
    ContainerExit,
    ContainerMount,
    ContainerRefused,
    ContainerSpec,
    EngineUnavailable,
    ImageMissing,
    Network,
    NetworkPeer,
)
from devenv.gcp.config import ImageConfig
from devenv.gcp.errors import CloudError, Unavailable
from devenv.gcp.java import trust_store, trust_store_of
from devenv.gcp.run_jobs.runtimes.base import (
    LONGEST_LINE,
    LONGEST_SHOWN,
    AttemptExit,
    AttemptNotStarted,
    EmulatedAttempt,
    JobsRuntime,
    OutputStream,
    RunningAttempt,
    forget_old,
    in_thread,
    log_of,
    repository,
)

_T = TypeVar("_T", None, Container)

BUNDLE = PurePosixPath("/run/emulated-cloud/bundle.pem")
GRACE = 10.0  # seconds from SIGTERM to SIGKILL, as Cloud Run documents
MOST_LOG = 10 * 2**20
_LAST_LINES = 5.0  # seconds for what was written at the end
_AGAIN = 1.0  # seconds until an engine that is away is asked again
_ACCOUNT = "devenv.account"

Environ: TypeAlias = Callable[[str], Mapping[str, str]]
"""Account → the variables by which a container finds this cloud, and that identity."""

LineSink: TypeAlias = Callable[[OutputStream, str], object]

log = logging.getLogger(__name__)
output = logging.getLogger("devenv.gcp.run_jobs.output")


def engine_of(data: Path, label: str) -> ContainerEngine:
    """Return the engine as the emulated cloud of `data` sees it.

    Where clouds are containers all have their data at the same path; their labels differ.
    """
    return ContainerEngine(owner=hashlib.sha256(f"{data}|{label}".encode()).hexdigest()[:12])


def gateway_of(engine: ContainerEngine, network: str) -> str:
    """Return this machine's address in the network of jobs. Raises Unavailable."""
    try:
        return engine.callback_network(network).gateway
    except (EngineUnavailable, ContainerRefused) as error:
        raise Unavailable(str(error)) from error


class DockerRunning(RunningAttempt):
    """An attempt in its container. The file `mark` tells a later emulator that it was to end."""

    def __init__(
        self,
        container: Container,
        mark: Path,
        *,
        log: Path,
        on_line: LineSink,
        removed: Callable[[], object],
    ) -> None:
        self._container = container
        self._mark = mark
        self._marked = mark.exists()
        self._removed = removed
        self._ended = in_thread(container.wait)
        self._shown = in_thread(partial(_show, container, log, on_line))

    async def wait(self) -> AttemptExit:
        ended = await self._ended
        await asyncio.wait({self._shown}, timeout=_LAST_LINES)
        return _exit(ended, marked=self._marked)

    async def memory(self) -> int:
        return await in_thread(self._container.memory)

    def terminate(self) -> None:
        in_thread(self._terminate)

    def discard(self) -> None:
        self._mark.unlink(missing_ok=True)
        self._removed()

    def _terminate(self) -> None:
        while not self._ended.done():
            try:
                if self._container.exit() is None:
                    self._mark.touch()
                    self._container.terminate(grace=GRACE)
            except EngineUnavailable as error:
                log.warning("%s could not be ended yet. %s", self._container.name, error)
                time.sleep(_AGAIN)
            else:
                return


class DockerRuntime(JobsRuntime):
    """`bundle` are the certificates that containers are to trust, PEM; `images` say how they are built.

    `network` is an existing one for them to be put on, else they get one of their own, where they
    cannot reach each other. An emulator that is a container is their `peer`: the network of each
    job then has only these two in it.
    """

    def __init__(  # noqa: PLR0913 - the parts of the runtime, by name
        self,
        engine: ContainerEngine,
        *,
        environ: Environ,
        bundle: Path,
        data: Path,
        images: Iterable[ImageConfig] = (),
        network: str = "",
        peer: NetworkPeer | None = None,
    ) -> None:
        self._engine = engine
        self._environ = environ
        self._bundle = bundle
        self._builds = {repository(image.name): image.build for image in images}
        self._network = network
        self._peer = peer
        self._logs = data / "logs"
        self._marks = data / "ending"
        self._held = ""
        self._holding = Lock()
        self._busy: set[asyncio.Future[None] | asyncio.Future[Container]] = set()

    async def pin(self, image: str) -> str | None:
        try:
            digest = await in_thread(partial(self._engine.digest, image))
        except ImageMissing:
            return None
        except EngineUnavailable as error:
            raise AttemptNotStarted(str(error)) from error
        return f"{repository(image)}@{digest}"

    def hint(self, image: str) -> str:
        if build := self._builds.get(repository(image)):
            return f"Build it: {build}"
        return f"Build it, or fetch it: docker pull {image}"

    async def start(self, attempt: EmulatedAttempt) -> RunningAttempt:
        if attempt.sockets:
            raise AttemptNotStarted(
                "Sockets of Cloud SQL exist for the jobs runtime `process` only: use JOBS=process."
            )
        starting = self._keep(in_thread(partial(self._start, attempt)))
        try:
            # Shielded: a container that is being started is to be known by who clears up.
            container = await asyncio.shield(starting)
        except (EngineUnavailable, ImageMissing, ContainerRefused, CloudError) as error:
            raise AttemptNotStarted(str(error)) from error
        log_of(self._logs, attempt).unlink(missing_ok=True)
        return self._run(container, attempt)

    async def adopt(self, attempt: EmulatedAttempt) -> RunningAttempt | None:
        try:
            container = await in_thread(partial(self._engine.find, attempt.name, peer=self._peer))
        except (EngineUnavailable, ContainerRefused) as error:
            raise AttemptNotStarted(str(error)) from error
        return self._run(container, attempt) if container else None

    def port(self, wanted: int) -> int:
        """Return the wanted port: each container has an address of its own."""
        return wanted

    async def host(self, attempt: EmulatedAttempt) -> str:
        try:
            address = await in_thread(partial(self._engine.address_of, attempt.name))
        except EngineUnavailable as error:
            raise AttemptNotStarted(str(error)) from error
        if not address:
            raise AttemptNotStarted(f"{attempt.name} has no address: it is not running.")
        return address

    async def open(self, keep: AbstractSet[str]) -> None:
        try:
            await in_thread(partial(self._engine.sweep, keep=keep))
        except EngineUnavailable as error:
            raise Unavailable(str(error)) from error
        self._marks.mkdir(parents=True, exist_ok=True)
        for mark in self._marks.iterdir():
            if mark.name not in keep:
                mark.unlink()
        forget_old(self._logs)

    async def close(self) -> None:
        if self._busy:
            await asyncio.wait(self._busy)
        try:
            await in_thread(self._engine.clear)
        except EngineUnavailable as error:
            log.warning("What runs in containers is left to the next start. %s", error)
        self._engine.close()

    async def account_at(self, address: str) -> str | None:
        """Return the account of the container that has this address. Raises Unavailable."""
        try:
            labels = await in_thread(partial(self._engine.labels_at, address))
        except EngineUnavailable as error:
            raise Unavailable(str(error)) from error
        return labels.get(_ACCOUNT) if labels else None

    def _start(self, attempt: EmulatedAttempt) -> Container:
        mounts = [ContainerMount(source=self._hold(attempt.image), target=str(BUNDLE.parent))]
        for number, (target, files) in enumerate(attempt.files.items()):
            source = self._engine.hold(f"{attempt.name}-{number}", files, image=attempt.image)
            mounts.append(ContainerMount(source=source, target=target))
        return self._engine.start(
            ContainerSpec(
                name=attempt.name,
                image=attempt.image,
                command=attempt.command,
                args=attempt.args,
                env={**self._environ(attempt.account), **attempt.env},
                labels={_ACCOUNT: attempt.account},
                memory_bytes=attempt.memory,
                # Half of it, so that too large a file is a full disk and not the end of the task.
                scratch_bytes=attempt.memory // 2,
                cpus=attempt.cpus,
                user=self._engine.user(attempt.image) or DEFAULT_USER,
                network=Network.CALLBACK,
                network_name=self._network,
                peer=self._peer,
                mounts=tuple(mounts),
            )
        )

    def _hold(self, image: str) -> str:
        """Return the volume with the certificates; it is filled before the first container starts."""
        with self._holding:
            if not self._held:
                bundle = self._bundle.read_bytes()
                store = trust_store_of(BUNDLE).name
                files = {BUNDLE.name: bundle, store: trust_store(bundle)}
                self._held = self._engine.hold("certificates", files, image=image)
        return self._held

    def _run(self, container: Container, attempt: EmulatedAttempt) -> RunningAttempt:
        path = log_of(self._logs, attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        loop = asyncio.get_running_loop()

        def on_line(stream: OutputStream, line: str) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self.on_lines, attempt, ((stream, line),))

        return DockerRunning(
            container,
            self._marks / attempt.name,
            log=path,
            on_line=on_line,
            removed=lambda: self._keep(in_thread(partial(_remove, container))),
        )

    def _keep(self, busy: asyncio.Future[_T]) -> asyncio.Future[_T]:
        self._busy.add(busy)
        busy.add_done_callback(self._busy.discard)
        return busy


def _exit(ended: ContainerExit, *, marked: bool) -> AttemptExit:
    """Tell it as Cloud Run does, where all processes of a container share one memory limit."""
    failed_for_memory = ended.child_out_of_memory and ended.code != 0
    return AttemptExit(
        code=ended.code,
        signal=ended.signal,
        terminated=ended.terminated or marked,
        out_of_memory=ended.out_of_memory or failed_for_memory,
        lost=ended.lost and not marked,
    )


def _show(container: Container, path: Path, on_line: LineSink) -> None:
    """Write what it says to its log, the emulator's and `on_line`, but for lines that it has already."""
    known = path.read_bytes().count(b"\n") if path.exists() else 0
    with path.open("a", encoding="utf-8") as file:

        def show(stream: OutputStream, line: str) -> None:
            nonlocal known
            if known:
                known -= 1
                return
            file.write(f"{line}\n")
            file.flush()
            output.info("%s | %s", container.name, line[:LONGEST_SHOWN])
            on_line(stream, line)

        container.follow(
            partial(show, OutputStream.STDOUT),
            on_error_line=partial(show, OutputStream.STDERR),
            max_bytes=MOST_LOG,
            max_line=LONGEST_LINE,
        )


def _remove(container: Container) -> None:
    with suppress(EngineUnavailable):  # the next start sweeps
        container.remove()
