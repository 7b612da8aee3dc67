"""What outlives the process: queues, tasks, and the names that may not be used again yet."""

import struct
from collections.abc import Iterable

from devenv.gcp.clock import Clock
from devenv.gcp.store import Store, Table
from devenv.gcp.tasks.limits import Queue, Task
from devenv.gcp.tasks.names import queue_of
from devenv.gcp.tasks.queue import Entry, LiveQueue

_COUNTS = struct.Struct("<II")  # executions and previous, before the Task message
_EXPIRY = struct.Struct("<d")


class Graves:
    """Names of what is gone, each for a while."""

    def __init__(self, table: Table, *, clock: Clock, seconds: float) -> None:
        self._table = table
        self._clock = clock
        self._seconds = seconds
        rows = ((name, _EXPIRY.unpack(value)[0]) for name, value in table.scan())
        self._expiry: dict[str, float] = dict(sorted(rows, key=lambda row: row[1]))

    def __contains__(self, name: str) -> bool:
        return self._expiry.get(name, 0.0) > self._clock.now()

    def dig(self, name: str) -> None:
        """Remember `name`, and forget those whose time is over."""
        now = self._clock.now()
        while self._expiry and next(iter(self._expiry.values())) <= now:
            oldest = next(iter(self._expiry))
            del self._expiry[oldest]
            self._table.delete(oldest)
        self._expiry.pop(name, None)
        self._expiry[name] = now + self._seconds
        self._table.put(name, _EXPIRY.pack(now + self._seconds))


class Ledger:
    """Queues and tasks in the store. Google blocks names for longer than is useful on a laptop."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._queues = store.table("tasks_queues")
        self._tasks = store.table("tasks_tasks")
        self.gone_queues = Graves(store.table("tasks_gone_queues"), clock=clock, seconds=60)
        self.gone_tasks = Graves(store.table("tasks_gone"), clock=clock, seconds=3600)

    def queues(self) -> dict[str, LiveQueue]:
        """Read everything back; a task that was in flight is simply there."""
        found: dict[str, LiveQueue] = {}
        for name, value in self._queues.scan():
            found[name] = LiveQueue(Queue.FromString(value))
        for name, value in self._tasks.scan():
            executions, previous = _COUNTS.unpack_from(value)
            task = Task.FromString(value[_COUNTS.size :])
            found[queue_of(name)].put(Entry(task, executions=executions, previous=previous))
        return found

    def save_queue(self, queue: LiveQueue) -> None:
        self._queues.put(queue.state.name, queue.state.SerializeToString())

    def delete_queue(self, queue: LiveQueue) -> None:
        with self._store.transaction():
            self._bury(queue.tasks)
            self._queues.delete(queue.state.name)
            self.gone_queues.dig(queue.state.name)

    def save(self, entry: Entry) -> None:
        counts = _COUNTS.pack(entry.executions, entry.previous)
        self._tasks.put(entry.name, counts + entry.task.SerializeToString())

    def delete(self, names: Iterable[str]) -> None:
        with self._store.transaction():
            self._bury(names)

    def _bury(self, names: Iterable[str]) -> None:
        for name in names:
            self._tasks.delete(name)
            self.gone_tasks.dig(name)
