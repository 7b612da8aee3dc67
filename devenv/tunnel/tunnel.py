"""Tunnels: the life of a tunnel program, and the gate that is opened and closed with it."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any, TypeAlias

from devenv.gcp.delivery import DeliveryAnswer, DeliveryRequest
from devenv.gcp.forward.connection import Origin, Pool, buffered
from devenv.stack.problems import Check
from devenv.stack.process import Process, describe_exit
from devenv.stack.service import Restart
from devenv.tunnel import checks as tunnel_checks
from devenv.tunnel.config import TunnelConfig, TunnelPath
from devenv.tunnel.doors import Echo, doors
from devenv.tunnel.gate import Gate, GateContext
from devenv.tunnel.providers import Provider, make
from devenv.tunnel.saved import SavedRequests

OPENS_WITHIN = 40.0
_STOPS_WITHIN = 5.0
RESTART = Restart(first=1.0, ceiling=30.0, calm=60.0, attempts=3)

log = logging.getLogger(__name__)


class TunnelFailed(Exception):
    """The program never opened a tunnel; `hint` is the next step."""

    def __init__(self, reason: str, *, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


class Tunnel:
    """Runs one program at a time; `opened` is called with the public origin each time it opens."""

    def __init__(
        self,
        provider: Provider,
        *,
        port: int,
        environ: Mapping[str, str],
        folder: Path,
        opened: Callable[[str], None],
        restart: Restart = RESTART,
    ) -> None:
        self._provider = provider
        self._port = port
        self._environ = environ
        self._folder = folder
        self._opened = opened
        self._restart = restart
        self._open = asyncio.Event()
        self._url = self._trouble = ""
        self._flows = False

    async def keep(self) -> None:
        """Run until cancelled. Raises TunnelFailed when it does not open for the first time."""
        clock = asyncio.get_running_loop().time
        deaths, ever_open = 0, False
        while True:
            began = clock()
            reason = await self._live()
            ever_open = ever_open or self._open.is_set()
            deaths = 1 if clock() - began > self._restart.calm else deaths + 1
            if not ever_open and deaths >= self._restart.attempts:
                command = " ".join(self._provider.command(port=self._port))
                raise TunnelFailed(reason, hint=f"try it by hand: {command}")
            pause = self._restart.delay(deaths)
            log.warning("The tunnel is down: %s It is started again in %g s.", reason, pause)
            await asyncio.sleep(pause)

    async def _live(self) -> str:
        """Run the program once; return why it ended."""
        self._open.clear()
        self._url, self._flows, self._trouble = self._provider.url, False, ""
        command = self._provider.command(port=self._port)
        try:
            process = await Process.start(
                command,
                environ=self._environ,
                folder=self._folder,
                stop_signal=SIGTERM,
                write=self._read,
            )
        except OSError as error:
            raise TunnelFailed(
                f"{command[0]} cannot be started: {error.strerror}.", hint=self._provider.install
            ) from error
        ended = asyncio.create_task(process.wait())
        try:
            return await self._watch(ended)
        finally:
            if not ended.done():
                await process.stop(SIGTERM, within=_STOPS_WITHIN)

    async def _watch(self, ended: asyncio.Task[int]) -> str:
        opening = asyncio.create_task(self._open.wait())
        await asyncio.wait(
            {ended, opening}, timeout=OPENS_WITHIN, return_when=asyncio.FIRST_COMPLETED
        )
        opening.cancel()
        if not ended.done() and not self._open.is_set():
            return self._why(f"it was not open within {OPENS_WITHIN:.0f} s")
        await asyncio.wait({ended})  # unlike await, it does not cancel what it waits for
        return self._why(f"{self._provider.program} {describe_exit(ended.result())}")

    def _read(self, line: str) -> None:
        sight = self._provider.read(line)
        if self._provider.worth_logging(line):
            log.info("%s: %s", self._provider.name, line)
        self._url = sight.url or self._url
        self._flows = sight.ready or self._flows
        self._trouble = sight.trouble or self._trouble
        if self._url and self._flows and not self._open.is_set():
            self._open.set()
            self._opened(self._url)

    def _why(self, ending: str) -> str:
        return f"{ending} ({self._trouble})." if self._trouble else f"{ending}."


# A quick tunnel's name reaches the world's name servers some seconds after it was given.
_TRIES = 12
_PAUSE = 3.0
_TAKES_A_WHILE = ("dns", "tls", "round trip")

log = logging.getLogger(__name__)

Opened: TypeAlias = Callable[[str, str], None]
"""Is told the public origin when the tunnel opens, and the one before, if there was any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelPlace:
    """Folders, the target's paths and port, and the environment of the tunnel program."""

    root: Path
    state: Path
    paths: Sequence[TunnelPath]
    worker_port: int
    environ: Mapping[str, str]

    @property
    def echo(self) -> Path:
        return self.state / "tunnel" / "echo"

    @property
    def saved(self) -> Path:
        return self.state / "requests"


class Station:
    """One tunnel at a time."""

    def __init__(self, config: TunnelConfig, place: TunnelPlace, *, opened: Opened) -> None:
        self.echo = Echo(place.echo)
        self._config = config
        self._place = place
        self._opened = opened
        self._worker = WorkerClient(place.worker_port)
        self._gate = Gate(
            GateContext(
                doors=doors(config, place.paths),
                worker=self._worker,
                saved=SavedRequests(place.saved),
                echo=self.echo,
            )
        )

    async def keep(self) -> None:
        """Run until cancelled, then leave nothing behind. Raises TunnelFailed."""
        try:
            port = await self._gate.start(self._config.port)
        except OSError as error:
            reason = f"The gate cannot listen on port {self._config.port}: {error.strerror}."
            raise TunnelFailed(reason, hint="choose another tunnel.port") from error
        log.info("The gate listens on 127.0.0.1:%d.", port)
        tunnel = Tunnel(
            make(self._config),
            port=port,
            environ=self._place.environ,
            folder=self._place.root,
            opened=self._moved,
        )
        try:
            await tunnel.keep()
        finally:
            await self._gate.stop()
            self._worker.close()

    async def prove(self, url: str) -> list[Check]:
        """Look through the open tunnel, more than once where a new name may not be known yet."""
        path = self._place.paths[0].path
        for _ in range(_TRIES):
            checks = await asyncio.to_thread(
                tunnel_checks.through, self._config, url, self.echo, path
            )
            if not any(check.name in _TAKES_A_WHILE and check.result == "fail" for check in checks):
                break
            await asyncio.sleep(_PAUSE)
        return checks

    def _moved(self, url: str) -> None:
        before, self._gate.origin = self._gate.origin, url
        self._opened(url, before)


async def trial(config: TunnelConfig, place: TunnelPlace) -> list[Check]:
    """Open a tunnel for a moment, look through it, and take it down again."""
    opened: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def tell(url: str, before: str) -> None:
        if not opened.done():
            opened.set_result(url)

    station = Station(config, place, opened=tell)
    keeping = asyncio.create_task(station.keep())
    either: set[asyncio.Future[Any]] = {keeping, opened}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            await keeping
        found = Check("tunnel", "ok", f"{config.provider} opens {opened.result()}")
        return [found, *await station.prove(opened.result())]
    except TunnelFailed as error:
        return [Check("tunnel", "fail", str(error), error.hint)]
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


class WorkerClient:
    """Calls the worker that listens on `port` of the loopback interface."""

    def __init__(self, port: int) -> None:
        self._origin = Origin("127.0.0.1", port)
        self._pool = Pool()

    async def __call__(self, request: DeliveryRequest) -> DeliveryAnswer:
        """Send the request. Raises NoAnswer, or TimeoutError after its deadline."""
        headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in request.headers.items()]
        async with asyncio.timeout(request.deadline):
            return await buffered(self._pool, self._origin, request, headers)

    def close(self) -> None:
        self._pool.close()
