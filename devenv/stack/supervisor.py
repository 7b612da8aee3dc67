"""Bring a set of services up in order, keep them up, take them down in reverse."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from devenv.stack.errors import ServiceFailed
from devenv.stack.graph import start_levels, stop_levels
from devenv.stack.keeper import Keeper, Watcher
from devenv.stack.service import Service


class Supervisor:
    """One per stack, inside one event loop. `keepers` are in the order of their start."""

    def __init__(self, services: Iterable[Service], *, folder: Path, watcher: Watcher) -> None:
        self._services = {service.name: service for service in services}
        self._watcher = watcher
        self.keepers: dict[str, Keeper] = {}
        for level in start_levels(self._services.values()):
            for name in level:
                service = self._services[name]
                needs = [self.keepers[need] for need in service.needs]
                self.keepers[name] = Keeper(service, needs=needs, folder=folder)

    async def up(self) -> None:
        """Start everything; return when all is healthy or done. Raises ServiceFailed."""
        for keeper in self.keepers.values():
            keeper.start(self._watcher)
        waiting = [asyncio.create_task(_ready(keeper)) for keeper in self.keepers.values()]
        try:
            await asyncio.gather(*waiting)
        finally:
            for task in waiting:
                task.cancel()

    async def down(self) -> None:
        """Stop everything, what nothing needs any more first."""
        for level in stop_levels(self._services.values()):
            await asyncio.gather(*(self.keepers[name].stop() for name in level))

    def kill(self) -> None:
        """End everything at once, without manners."""
        for keeper in self.keepers.values():
            keeper.kill()


async def _ready(keeper: Keeper) -> None:
    ready = asyncio.create_task(keeper.ready.wait())
    failed = asyncio.create_task(keeper.failed.wait())
    try:
        await asyncio.wait({ready, failed}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()
        failed.cancel()
    if keeper.failed.is_set():
        raise ServiceFailed(keeper.service.name, keeper.note)
