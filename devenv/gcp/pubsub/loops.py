"""Tasks of the subscriptions whose messages Pub/Sub itself carries on."""

import asyncio
import logging
from abc import ABC, abstractmethod

from devenv.gcp.clock import Clock
from devenv.gcp.pubsub.broker import Broker
from devenv.gcp.pubsub.state import LiveSubscription

log = logging.getLogger(__name__)
_AGAIN = 1.0  # seconds until a task that has failed begins anew


class SubscriptionLoops(ABC):
    """One task for each subscription of a kind."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self._loops: dict[LiveSubscription, asyncio.Task[None]] = {}
        self._started = False

    @abstractmethod
    def _is_wanted(self, live: LiveSubscription) -> bool:
        """Return whether a subscription is of this kind."""

    @abstractmethod
    async def _run(self, live: LiveSubscription) -> None:
        """Carry the messages of a subscription on, until the task is cancelled."""

    def start(self) -> None:
        self._started = True
        for live in self._broker.saved.subscriptions.values():
            self.follow(live)

    async def stop(self) -> None:
        """Break off: what was not acknowledged is delivered again after the next start."""
        self._started = False
        tasks = list(self._loops.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loops.clear()

    def follow(self, live: LiveSubscription) -> None:
        """Begin or end the task of a subscription, as its state says."""
        if not self._started or live.state.detached or not self._is_wanted(live):
            self.forget(live)
        elif live not in self._loops:
            self._loops[live] = asyncio.create_task(self._keep_running(live))

    async def _keep_running(self, live: LiveSubscription) -> None:
        while True:
            try:
                await self._run(live)
            except Exception:  # on a full disk, for example
                log.exception("%s: its messages wait; they are tried again", live.name)
                await self._clock.sleep(_AGAIN)

    def forget(self, live: LiveSubscription) -> None:
        if loop := self._loops.pop(live, None):
            loop.cancel()
