"""Delivers tasks: each queue in the order of due times, within its limits, until they are done."""

import asyncio
import logging
from collections.abc import Iterable

from devenv.gcp.caller import Minter
from devenv.gcp.clock import Alarm, Clock
from devenv.gcp.delivery import NoAnswer, Send
from devenv.gcp.errors import CloudError
from devenv.gcp.messages import set_moment
from devenv.gcp.tasks.attempt import (
    TIMED_OUT,
    UNREACHABLE,
    Outcome,
    begin,
    fail,
    request_for,
)
from devenv.gcp.tasks.ledger import Ledger
from devenv.gcp.tasks.queue import Entry, LiveQueue

log = logging.getLogger(__name__)


class Dispatcher:
    """Nothing here polls: creating, answering, resuming and one alarm per queue move it on."""

    def __init__(self, *, ledger: Ledger, clock: Clock, minter: Minter, send: Send) -> None:
        self._ledger = ledger
        self._clock = clock
        self._minter = minter
        self._send = send
        self._alarms: dict[LiveQueue, Alarm] = {}
        self._attempts: set[asyncio.Task[None]] = set()
        self._started = False

    def start(self, queues: Iterable[LiveQueue]) -> None:
        self._started = True
        for queue in queues:
            self.pump(queue)

    async def stop(self) -> None:
        """Break off; attempts in flight stay in the ledger and are made again."""
        self._started = False
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()
        for attempt in self._attempts:
            attempt.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)

    def pump(self, queue: LiveQueue) -> None:
        """Send what may leave now, and wake up when the next may."""
        if not self._started:
            return
        now = self._clock.now()
        while entry := queue.next(now):
            self._launch(queue, entry)
        wake = queue.wake_at(now)
        if wake is not None:
            self._alarm(queue).set(wake)

    def force(self, queue: LiveQueue, entry: Entry) -> None:
        """Send the task now: RunTask heeds neither a pause nor the limits."""
        if entry.in_flight:
            return
        set_moment(entry.task.schedule_time, self._clock.now())
        queue.lift(entry)
        self._launch(queue, entry)

    def forget(self, queue: LiveQueue) -> None:
        if alarm := self._alarms.pop(queue, None):
            alarm.cancel()

    def _alarm(self, queue: LiveQueue) -> Alarm:
        if queue not in self._alarms:
            self._alarms[queue] = Alarm(self._clock, lambda: self.pump(queue))
        return self._alarms[queue]

    def _launch(self, queue: LiveQueue, entry: Entry) -> None:
        attempt = asyncio.create_task(self._attempt(queue, entry))
        self._attempts.add(attempt)
        attempt.add_done_callback(self._attempts.discard)

    async def _attempt(self, queue: LiveQueue, entry: Entry) -> None:
        if not entry.gone:
            begin(entry, self._clock.now())
            self._ledger.save(entry)
            outcome = await self._deliver(entry)
            if not entry.gone:
                self._settle(queue, entry, outcome)
        queue.land(entry)
        self.pump(queue)

    async def _deliver(self, entry: Entry) -> Outcome:
        try:
            answer = await self._send(request_for(entry, self._minter))
            return Outcome.of(answer, self._clock.now())
        except TimeoutError:
            return TIMED_OUT
        except (NoAnswer, CloudError) as error:
            log.warning("Task %s was not delivered: %s", entry.name, error)
            return UNREACHABLE
        except Exception:
            log.exception("Task %s was not delivered", entry.name)
            return UNREACHABLE

    def _settle(self, queue: LiveQueue, entry: Entry, outcome: Outcome) -> None:
        if outcome.good:
            done = True
        else:
            done = not fail(queue, entry, outcome, self._clock.now())
            log.warning(
                "Task %s: HTTP status code %d, %s",
                entry.name,
                outcome.status,
                "given up" if done else "will be tried again",
            )
        if done:
            queue.drop(entry)
            self._ledger.delete([entry.name])
        else:
            self._ledger.save(entry)
            queue.put(entry)
