"""Life of a tunnel program: start, opening, restart when it ends, giving up."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from signal import SIGTERM

from devenv.stack.process import Process, describe_exit
from devenv.stack.service import Restart
from devenv.tunnel.providers import Provider

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
