"""A gate and the tunnel to it, opened and closed together, and the client to the worker."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from devenv.gcp.delivery import DeliveryAnswer, DeliveryRequest
from devenv.gcp.forward.connection import Origin, Pool, buffered
from devenv.stack.problems import Check
from devenv.tunnel import checks as tunnel_checks
from devenv.tunnel.config import TunnelConfig
from devenv.tunnel.doors import Echo, doors
from devenv.tunnel.gate import Gate, GateContext
from devenv.tunnel.providers import make
from devenv.tunnel.saved import Callbacks
from devenv.tunnel.tunnel import Tunnel, TunnelFailed

# A quick tunnel's name reaches the world's name servers some seconds after it was given.
_TRIES = 12
_PAUSE = 3.0
_TAKES_A_WHILE = ("dns", "tls", "round trip")

log = logging.getLogger(__name__)

Opened: TypeAlias = Callable[[str, str], None]
"""Is told the public origin when the tunnel opens, and the one before, if there was any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelPlace:
    """Folders, the port of the worker, and the environment of the tunnel program."""

    root: Path
    state: Path
    worker_port: int
    environ: Mapping[str, str]

    @property
    def echo(self) -> Path:
        return self.state / "tunnel" / "echo"

    @property
    def callbacks(self) -> Path:
        return self.state / "callbacks"


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
                doors=doors(config),
                worker=self._worker,
                callbacks=Callbacks(place.callbacks),
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
        for _ in range(_TRIES):
            checks = await asyncio.to_thread(tunnel_checks.through, self._config, url, self.echo)
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
