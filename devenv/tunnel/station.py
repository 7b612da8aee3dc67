"""A gate, and the tunnel that leads to it: opened together, taken down together."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from devenv.tunnel.config import TunnelConfig
from devenv.tunnel.doors import doors
from devenv.tunnel.echo import Echo
from devenv.tunnel.gate import Gate, Gatehouse
from devenv.tunnel.providers import make
from devenv.tunnel.saved import Callbacks
from devenv.tunnel.tunnel import Tunnel, TunnelFailed
from devenv.tunnel.worker import Worker

log = logging.getLogger(__name__)

type Opened = Callable[[str, str], None]
"""Is told the public origin when the tunnel opens, and the one before, if there was any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where things are: folders, the port of the worker, the environment of the program."""

    root: Path
    echo: Path
    callbacks: Path
    worker_port: int
    environ: Mapping[str, str]


class Station:
    """One tunnel at a time."""

    def __init__(self, config: TunnelConfig, place: Place, *, opened: Opened) -> None:
        self.echo = Echo(place.echo)
        self._config = config
        self._place = place
        self._opened = opened
        self._worker = Worker(place.worker_port)
        self._gate = Gate(
            Gatehouse(
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

    def _moved(self, url: str) -> None:
        before, self._gate.origin = self._gate.origin, url
        self._opened(url, before)
