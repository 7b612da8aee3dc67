"""The clock of the emulated cloud, which can be turned forward.

It runs as fast as the machine's clock and is ahead of it by the sum of its turns. A turn takes
effect at a whole second of the machine's clock: programs here sign with times of whole seconds, and
`at` tells by them what was signed before the turn. The turns are kept in the store, so that the
clock shows the same time after a restart and in a snapshot.
"""

import asyncio
import contextlib
import datetime as dt
import json
import math
import re
import time
from collections.abc import Callable

from devenv.gcp.clock import rfc3339
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.store import Store

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_MOST_AHEAD = 100 * 365 * 86_400.0
_KEPT = 1000
_KEY = "turns"
_LOOK_AGAIN = 30.0  # seconds until a sleeper looks whether the machine's clock was set


class StackClock:
    """A clock that `advance` and `set` turn forward and `reset` gives the machine's time again.

    A turn is one jump: all that becomes due by it happens once, in the order of its moments.
    """

    def __init__(self, store: Store, machine: Callable[[], float] = time.time) -> None:
        self._table = store.table("clock")
        self.machine = machine
        # Each turn: its moment on the machine's clock, and how far ahead this clock is from then on.
        self._turns: list[tuple[float, float]] = [
            (moment, ahead) for moment, ahead in json.loads(self._table.get(_KEY) or b"[]")
        ]
        self._turned = asyncio.Event()
        self._turning = asyncio.Lock()
        self._on_reset: list[Callable[[float], None]] = []

    def on_reset(self, listener: Callable[[float], None]) -> None:
        """Have a reset call `listener` with the seconds that the clock loses by it."""
        self._on_reset.append(listener)

    @property
    def ahead(self) -> float:
        """The seconds by which this clock is ahead of the machine's."""
        return self._turns[-1][1] if self._turns else 0.0

    def now(self) -> float:
        return self.machine() + self.ahead

    def at(self, moment: float) -> float:
        earlier = (ahead for turned, ahead in reversed(self._turns) if turned <= moment)
        return moment + next(earlier, 0.0)

    def machine_at(self, moment: float) -> float:
        later = (
            math.inf
        )  # on the machine's clock: the turn that skipped the moment, or one after it
        for turned, ahead in reversed(self._turns):
            if turned + ahead <= moment:
                return min(moment - ahead, later)
            later = turned
        return min(moment, later)

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed; a turn shortens the rest, a reset leaves it as it is.

        So does a step of the machine's clock: forward, as after a laptop slept, it shortens the rest.
        """
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        ahead, left = self.ahead, seconds
        while left > 0:
            shown, began, turned = self.machine(), time.monotonic(), self._turned
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK_AGAIN)):
                    await turned.wait()
            left -= max(self.machine() - shown, time.monotonic() - began)
            left -= max(0.0, self.ahead - ahead)
            ahead = self.ahead

    async def machine_sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def advance(self, seconds: float) -> None:
        """Turn the clock forward. Raises InvalidArgument."""
        if not seconds > 0:
            raise InvalidArgument(
                f"The clock is turned forward only; {seconds:g} seconds are not more than 0."
            )
        async with self._turning:
            await self._turn(lambda _machine: self.ahead + seconds)

    async def set(self, moment: float) -> None:
        """Turn the clock forward to a moment in Unix seconds. Raises InvalidArgument."""
        async with self._turning:
            await self._turn(lambda machine: moment - machine)

    def reset(self) -> None:
        """Show the machine's time again; sleepers go on waiting for as long as before."""
        ahead = self.ahead
        self._table.delete(_KEY)
        self._turns = []
        self._wake()
        for listener in self._on_reset:
            listener(ahead)

    async def _turn(self, ahead_at: Callable[[float], float]) -> None:
        second = math.ceil(self.machine())
        ahead = ahead_at(second)
        self._check(second, ahead)
        await asyncio.sleep(max(0.0, second - self.machine()))
        turns = [*self._turns, (float(second), ahead)][-_KEPT:]
        self._table.put(_KEY, json.dumps(turns).encode())
        self._turns = turns
        self._wake()
        await asyncio.sleep(0)

    def _check(self, second: float, ahead: float) -> None:
        if ahead < self.ahead:
            raise InvalidArgument(
                f"{rfc3339(second + ahead)} is before {rfc3339(self.now())}, which the clock shows; "
                "it is turned forward only. `devenv clock reset` shows the machine's time again."
            )
        if ahead > _MOST_AHEAD:
            raise InvalidArgument("The clock is turned at most 100 years ahead of the machine's.")

    def _wake(self) -> None:
        self._turned.set()
        self._turned = asyncio.Event()


def duration(text: str) -> float:
    """Return the seconds of `90s`, `10m`, `2h`, `1d`, `1w` or `1d12h`. Raises InvalidArgument."""
    compact = text.strip().replace(" ", "")
    if compact.startswith("-"):
        raise InvalidArgument(
            f"The clock is turned forward only, not by {text[:60]!r}. "
            "`devenv clock reset` shows the machine's time again."
        )
    parts = _PART.findall(compact) if len(compact) <= 40 else []
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise InvalidArgument(
            f"{text[:60]!r} is not a duration; give for example 90s, 10m, 2h, 1d or 1d12h."
        )
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def moment(text: str) -> float:
    """Return the Unix seconds of a date or time, in UTC without an offset. Raises InvalidArgument."""
    try:
        found = dt.datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(
            f"{text[:60]!r} is not a time; give for example 2027-01-31T12:00Z or 2027-01-31."
        ) from error
