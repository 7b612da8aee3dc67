"""Clocks: the machine's, and one that tests advance instead of sleeping."""

import asyncio
import datetime as dt
import logging
import time
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)
_RING_AGAIN = 1.0  # seconds after an alarm that failed
_TOLERANCE = 1.0  # seconds by which an alarm may be late after the machine's clock was set


class Clock(Protocol):
    """The emulated cloud's view of time. All moments are Unix seconds (float)."""

    def now(self) -> float:
        """Return the present moment in Unix seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed on this clock."""
        ...

    def machine(self) -> float:
        """Return the present moment on the machine's clock, which programs here read."""
        ...

    async def machine_sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed on the machine's clock: a turn does not shorten them."""
        ...

    def at(self, moment: float) -> float:
        """Return what this clock showed, or will show, at a moment of the machine's clock."""
        ...

    def machine_at(self, moment: float) -> float:
        """Return what the machine's clock showed at a moment of this clock; a turn if that skipped it."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        return time.time()

    def machine(self) -> float:
        return time.time()

    def at(self, moment: float) -> float:
        return moment

    def machine_at(self, moment: float) -> float:
        return moment

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def machine_sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands still until a test advances it."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self._now

    def machine(self) -> float:
        return self._now

    def at(self, moment: float) -> float:
        return moment

    def machine_at(self, moment: float) -> float:
        return moment

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wake = asyncio.Event()
        self._sleepers.append((self._now + seconds, wake))
        await wake.wait()

    async def machine_sleep(self, seconds: float) -> None:
        await self.sleep(seconds)

    def lose(self, seconds: float) -> None:
        """Show an earlier time; sleepers go on waiting for as long as before."""
        self._now -= seconds
        self._sleepers = [(moment - seconds, wake) for moment, wake in self._sleepers]

    async def turn(self, seconds: float) -> None:
        """Advance by `seconds`, waking each sleeper in the order of its moment."""
        target = self._now + seconds
        while due := sorted((s for s in self._sleepers if s[0] <= target), key=lambda s: s[0]):
            moment, wake = due[0]
            self._sleepers.remove(due[0])
            self._now = max(self._now, moment)
            wake.set()
            for _ in range(20):  # let what was woken run up to its next sleep
                await asyncio.sleep(0)
        self._now = target


class Alarm:
    """Calls `ring` once, at the earliest of the moments that it was set to; if it fails, again."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._moment = 0.0
        self._wakes = 0.0  # on the event loop's clock, which nobody sets
        self._wait: asyncio.Task[None] | None = None

    def set(self, moment: float) -> None:
        if self._wait:
            moment = min(moment, self._moment)
        left = moment - self._clock.now()
        wakes = asyncio.get_running_loop().time() + left
        # A wait that began while the machine's clock was behind lasts too long.
        if self._wait and self._moment == moment and self._wakes <= wakes + _TOLERANCE:
            return
        self.cancel()
        self._moment, self._wakes = moment, wakes
        self._wait = asyncio.create_task(self._sleep(left))

    def cancel(self) -> None:
        if self._wait:
            self._wait.cancel()
            self._wait = None

    async def _sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._wait = None
        try:
            self._ring()
        except Exception:  # on a full disk, for example: nothing else might set the alarm anew
            log.exception("An alarm of the emulated cloud failed; it will ring again")
            self.set(self._clock.now() + _RING_AGAIN)


def rfc3339(moment: float) -> str:
    """Format Unix seconds as Google prints times: `2026-01-02T03:04:05.678901Z`."""
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
