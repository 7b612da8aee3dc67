"""Process of the tunnel: opens it, checks that it ends here, publishes its URL, also a new one."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from devenv import config as configs
from devenv.config import Config
from devenv.environment import developer
from devenv.stack import statefile
from devenv.stack.process import send_signal
from devenv.tunnel import published
from devenv.tunnel.config import TunnelConfig
from devenv.tunnel.published import Published
from devenv.tunnel.tunnel import Station, TunnelFailed, TunnelPlace

log = logging.getLogger(__name__)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--worker-port", type=int, required=True)
    parser.add_argument(
        "--restart",
        action="append",
        default=[],
        metavar="SERVICE",
        help="it reads the public URL when it starts",
    )
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
    keeper = TunnelKeeper(
        configs.load(options.root), worker_port=options.worker_port, readers=options.restart
    )
    try:
        asyncio.run(keeper.run())
    except TunnelFailed as error:
        log.error("The tunnel cannot be opened: %s Next: %s", error, error.hint)  # noqa: TRY400
        return 1
    return 0


class TunnelKeeper:
    """TunnelKeeper of the tunnel of one stack, until SIGTERM or Ctrl-C."""

    def __init__(self, config: Config, *, worker_port: int, readers: Sequence[str] = ()) -> None:
        self._config = config
        self._readers = readers
        self._tunnel: TunnelConfig = config.need_tunnel()
        self._file = published.file_in(config.state)
        declared = next(one.tunnel for one in config.stacks.values() if one.tunnel)
        place = TunnelPlace(
            root=config.root,
            state=config.state,
            paths=declared.paths,
            worker_port=worker_port,
            environ=developer(),
        )
        self._station = Station(self._tunnel, place, opened=self._opened)
        self._proving: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._leads_elsewhere = ""

    async def run(self) -> None:
        """Run until told to stop. Raises TunnelFailed."""
        published.withdraw(self._file)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopping.set)
        keeping = asyncio.create_task(self._station.keep())
        enough = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({keeping, enough}, return_when=asyncio.FIRST_COMPLETED)
        published.withdraw(self._file)
        if keeping.done():
            await keeping
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        if self._leads_elsewhere:
            raise TunnelFailed(self._leads_elsewhere, hint="python -m devenv tunnel --check")

    def _opened(self, url: str, before: str) -> None:
        if url == before:
            log.info("The tunnel is open again at %s; what was not delivered comes again.", url)
            return
        if self._proving:
            self._proving.cancel()
        self._proving = asyncio.create_task(self._prove(url, before))

    async def _prove(self, url: str, before: str) -> None:
        """Publish the URL once a request through it has arrived here."""
        log.info("The tunnel is open at %s; now a round trip through it.", url)
        checks = await self._station.prove(url)
        for check in checks:
            log.info("%s: %s. %s", check.name, check.text, check.fix)
        if any(check.result == "fail" for check in checks):
            self._leads_elsewhere = f"{url} is open, but a request to it does not come back here."
            self._stopping.set()
            return
        published.publish(self._file, Published(url, self._tunnel.provider, os.getpid()))
        if before:
            log.warning(_MOVED, before, url, before)
            self._restart_readers()

    def _restart_readers(self) -> None:
        """Stop services that read the URL; the supervisor starts them again, with the new one."""
        services = statefile.read(self._config.state_file).services
        for name in self._readers:
            if (one := services.get(name)) and one.pid and one.pid > 1:
                send_signal(one.pid, signal.SIGTERM)


_MOVED = (
    "The tunnel's URL has changed from %s to %s. Services that read it start again with the new one. "
    "What Google still sends to %s, for tasks and jobs in flight, is lost."
)


if __name__ == "__main__":
    sys.exit(main())
