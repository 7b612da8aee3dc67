"""Deliveries that a fault holds back until the next one to the same target was made."""

import asyncio
from dataclasses import dataclass, field

from devenv.gcp.clock import Clock
from devenv.gcp.turns import begin


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    target: str
    fault: int
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def expire(self, clock: Clock, seconds: float) -> None:
        await clock.machine_sleep(seconds)
        self.over.set()


class HeldDeliveries:
    """The deliveries that are held back now, by their target and their fault."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: set[_Held] = set()

    async def hold(self, target: str, fault: int, seconds: float) -> None:
        """Return after the next delivery to the target, or `seconds`, or the end of the fault.

        One that finds another held is the next delivery itself, and is not held: a fault that strikes
        all of them would hold them all.
        """
        if any(each.target == target for each in self._held):
            return
        held = _Held(target, fault)
        self._held.add(held)
        expiry = begin(held.expire(self._clock, seconds))
        try:
            await held.over.wait()
        finally:
            expiry.cancel()
            self._held.discard(held)

    def release_target(self, target: str) -> None:
        """Let the deliveries to a target go: another one was made."""
        for held in self._held:
            if held.target == target:
                held.over.set()

    def release_fault(self, fault: int) -> None:
        """Let the deliveries go that a removed fault holds."""
        for held in self._held:
            if held.fault == fault:
                held.over.set()
