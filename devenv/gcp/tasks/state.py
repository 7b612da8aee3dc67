"""Queues and tasks in memory and on disk, and the names that may not be used again yet.

A `LiveQueue` decides which of its tasks may leave and when the next one may: by due time, by a
token bucket, and by the number of requests in flight. `TasksStore` writes every change before it
is answered. A `Tombstones` table blocks the name of a finished task for an hour (Google: up to a
day) and that of a deleted queue for a minute.
"""

import heapq
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from devenv.gcp.clock import Clock
from devenv.gcp.messages import moment
from devenv.gcp.store import Store, Table, Transaction
from devenv.gcp.tasks.rules import Queue, Task, queue_of

_TOLERANCE = 1e-6  # seconds by which a clock's float may fall short of a computed moment


@dataclass(slots=True, eq=False)
class QueuedEntry:
    """A task and what its Task message does not say about its attempts.

    `executions` counts answers other than 5xx; `previous` is the last HTTP status, 0 before any.
    `ticket` is the number of its newest place in the heap, which makes older places void.
    """

    task: Any
    executions: int = 0
    previous: int = 0
    in_flight: bool = False
    gone: bool = False
    ticket: int = 0

    @property
    def name(self) -> str:
        return str(self.task.name)


class TokenBucket:
    """A token bucket: `burst` at once, then `rate` a second. Kept as the seconds until it is full."""

    def __init__(self, rate: float, burst: int) -> None:
        self._interval = 1 / max(rate, 1e-9)
        self._slack = (burst - 1) * self._interval
        self._missing = 0.0
        self._seen = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until there is a token."""
        elapsed = max(0.0, now - self._seen)  # a clock that is set back takes nothing away
        self._missing = max(0.0, self._missing - elapsed)
        self._seen = now
        wait = self._missing - self._slack
        return wait if wait > _TOLERANCE else 0.0

    def take(self) -> None:
        self._missing += self._interval


@dataclass(slots=True, eq=False)
class LiveQueue:
    """A queue and its tasks. `state` is a google.cloud.tasks.v2.Queue."""

    state: Any
    tasks: dict[str, QueuedEntry] = field(default_factory=dict)
    in_flight: int = 0
    _due: list[tuple[float, int, QueuedEntry]] = field(default_factory=list)
    _tickets: int = 0
    _bucket: TokenBucket = field(init=False)

    def __post_init__(self) -> None:
        self.configure(self.state)

    def configure(self, state: Any) -> None:
        """Take over new limits; the bucket starts full."""
        self.state = state
        limits = state.rate_limits
        self._bucket = TokenBucket(limits.max_dispatches_per_second, limits.max_burst_size)

    @property
    def running(self) -> bool:
        return bool(self.state.state == self.state.RUNNING)

    def put(self, entry: QueuedEntry) -> None:
        """Let the task leave from its schedule time on; replaces an earlier time."""
        self.tasks[entry.name] = entry
        self._tickets += 1
        entry.ticket = self._tickets
        heapq.heappush(self._due, (moment(entry.task.schedule_time), entry.ticket, entry))

    def drop(self, entry: QueuedEntry) -> None:
        """Forget the task; if it is in flight, nothing comes of its answer."""
        entry.gone = True
        self.tasks.pop(entry.name, None)

    def lift(self, entry: QueuedEntry) -> None:
        """Mark the task as on its way, whatever the limits say."""
        entry.in_flight = True
        entry.ticket = 0
        self.in_flight += 1

    def land(self, entry: QueuedEntry) -> None:
        entry.in_flight = False
        self.in_flight -= 1

    def next(self, now: float) -> QueuedEntry | None:
        """Lift and return a task that is due and within the limits, if there is one."""
        wake = self.wake_at(now)
        if wake is None or wake > now + _TOLERANCE:
            return None
        _, _, entry = heapq.heappop(self._due)
        self._bucket.take()
        self.lift(entry)
        return entry

    def wake_at(self, now: float) -> float | None:
        """Return when the next task may leave; None if only an event can let it."""
        while self._due and (self._due[0][2].gone or self._due[0][1] != self._due[0][2].ticket):
            heapq.heappop(self._due)
        if not self._due or not self.running:
            return None
        if self.in_flight >= self.state.rate_limits.max_concurrent_dispatches:
            return None
        return max(self._due[0][0], now + self._bucket.wait(now))


class QueueHistory:
    """Depth and deliveries of a queue over the last ten minutes, in steps of STEP seconds.

    A step has the greatest depth that was noted in it; without a note the depth stays.
    """

    STEP = 5
    STEPS = 120

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._steps: deque[list[int]] = deque(maxlen=self.STEPS)  # number, depth, deliveries

    def note(self, depth: int, *, delivered: int = 0) -> None:
        number = int(self._clock.now() // self.STEP)
        if not self._steps or self._steps[-1][0] != number:
            self._steps.append([number, depth, 0])
        last = self._steps[-1]
        last[1] = max(last[1], depth)
        last[2] += delivered

    def read(self, depth: int) -> tuple[list[int], list[int]]:
        """Return depths and deliveries of all steps, the oldest first; `depth` is that of now."""
        now = int(self._clock.now() // self.STEP)
        known = {number: (deep, count) for number, deep, count in self._steps}
        depths, deliveries, last = [], [], 0
        for number in range(now - self.STEPS + 1, now + 1):
            last, count = known.get(number, (last, 0))
            depths.append(last)
            deliveries.append(count)
        depths[-1] = depth
        return depths, deliveries


_COUNTS = struct.Struct("<II")  # executions and previous, before the Task message
_EXPIRY = struct.Struct("<d")


class Tombstones:
    """Names of what is gone, each for a while."""

    def __init__(self, table: Table, *, clock: Clock, seconds: float) -> None:
        self._table = table
        self._clock = clock
        self._seconds = seconds
        self.load()

    def load(self) -> None:
        """Read the names, for example after a transaction that was rolled back."""
        rows = ((name, _EXPIRY.unpack(value)[0]) for name, value in self._table.scan())
        self._expiry: dict[str, float] = dict(sorted(rows, key=lambda row: row[1]))

    def __contains__(self, name: str) -> bool:
        return self._expiry.get(name, 0.0) > self._clock.now()

    def add(self, name: str) -> None:
        """Remember `name`, and forget those whose time is over."""
        now = self._clock.now()
        while self._expiry and next(iter(self._expiry.values())) <= now:
            oldest = next(iter(self._expiry))
            del self._expiry[oldest]
            self._table.delete(oldest)
        self._expiry.pop(name, None)
        self._put(name, now + self._seconds)

    def take_back(self, seconds: float) -> None:
        """Let every name be free so much earlier, after the clock has lost these seconds."""
        for name, expiry in self._expiry.items():
            self._put(name, expiry - seconds)

    def _put(self, name: str, expiry: float) -> None:
        self._expiry[name] = expiry
        self._table.put(name, _EXPIRY.pack(expiry))


class TasksStore:
    """Queues and tasks in the store. Google blocks names for longer than is useful on a laptop."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._queues = store.table("tasks_queues")
        self._tasks = store.table("tasks_tasks")
        self.gone_queues = Tombstones(store.table("tasks_gone_queues"), clock=clock, seconds=60)
        self.gone_tasks = Tombstones(store.table("tasks_gone"), clock=clock, seconds=3600)

    def queues(self) -> dict[str, LiveQueue]:
        """Read everything back; a task that was in flight is simply there."""
        found: dict[str, LiveQueue] = {}
        for name, value in self._queues.scan():
            found[name] = LiveQueue(Queue.FromString(value))
        for name, value in self._tasks.scan():
            executions, previous = _COUNTS.unpack_from(value)
            task = Task.FromString(value[_COUNTS.size :])
            found[queue_of(name)].put(QueuedEntry(task, executions=executions, previous=previous))
        return found

    def save_queue(self, state: Any) -> None:
        """Write the state of a queue, which its `LiveQueue` takes over after that."""
        self._queues.put(state.name, state.SerializeToString())

    def delete_queue(self, queue: LiveQueue) -> None:
        with self._transaction():
            self._delete_with_tombstone(queue.tasks)
            self._queues.delete(queue.state.name)
            self.gone_queues.add(queue.state.name)

    def take_back(self, seconds: float) -> None:
        """Let blocked names be free so much earlier, after the clock has lost these seconds."""
        with self._transaction():
            for gone in (self.gone_queues, self.gone_tasks):
                gone.take_back(seconds)

    def save(self, entry: QueuedEntry) -> None:
        counts = _COUNTS.pack(entry.executions, entry.previous)
        self._tasks.put(entry.name, counts + entry.task.SerializeToString())

    def delete(self, names: Iterable[str]) -> None:
        with self._transaction():
            self._delete_with_tombstone(names)

    def _transaction(self) -> Transaction:
        return self._store.transaction(self._load_tombstones)

    def _load_tombstones(self) -> None:
        self.gone_queues.load()
        self.gone_tasks.load()

    def _delete_with_tombstone(self, names: Iterable[str]) -> None:
        for name in names:
            self._tasks.delete(name)
            self.gone_tasks.add(name)
