"""Events of runs: written as rows, announced to every process, awaited.

An event is inserted in the transaction that makes it true. A trigger (migration 0004) notifies the
channel `run_events` with the run's id, and with ` end` behind it when the run has ended; PostgreSQL
delivers this when, and only if, the transaction commits. A process opens one connection that
listens when somebody first waits for a run. When PostgreSQL goes away it is opened again; until
then waiters look for themselves, more often. A notification only says that something has changed:
waiters read the state from the database.
"""

import asyncio
import logging
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

import psycopg
from django.db import connection

from validibot.runs.models import Attempt, Run, RunEvent
from validibot.runs.states import RUN, terminal

CHANNEL = "run_events"
# The kinds with which a run is over; migration 0004 has the same list.
ENDINGS = frozenset({"passed", "failed", "error", "canceled", "timed_out"})
# Follows the run's id in a notification of its end.
END = " end"
# Seconds after which a waiter looks although nothing woke it, with and without a connection.
POLL_INTERVAL_CONNECTED = 15.0
POLL_INTERVAL_DISCONNECTED = 1.0
# So many ends are remembered, for those who come a moment too late to be woken by one.
REMEMBERED_ENDS = 1_000

logger = logging.getLogger(__name__)

type Wake = Callable[[], object]


def record(run_id: UUID, *events: RunEvent) -> None:
    """Insert `events` of a run, inside the transaction that makes them true."""
    for event in events:
        event.run_id = run_id
    RunEvent.objects.bulk_create(events)


def record_attempt(
    attempt: Attempt, kind: str, *, actor: str, message: str = "", execution: str = ""
) -> None:
    """Insert an event of an attempt; `execution` is the provider's name for it."""
    data = {"attempt": str(attempt.pk)} | ({"execution": execution} if execution else {})
    event = RunEvent(step_run=attempt.step_run, kind=kind, actor=actor, message=message, data=data)
    record(attempt.step_run.run_id, event)


@dataclass(frozen=True, slots=True)
class RunWatcher:
    """A waiter: `wake` is called after each change of a run, or only after the run's end."""

    wake: Wake
    ends_only: bool


class RunEventListener:
    """The connection of this process that receives notifications and wakes waiters."""

    def __init__(self) -> None:
        self._watchers: dict[UUID, set[RunWatcher]] = defaultdict(set)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        # Since when it is connected, and which runs ended lately; None: not connected.
        self._connected_at: float | None = None
        self._lately_ended: OrderedDict[UUID, None] = OrderedDict()

    @contextmanager
    def watching(self, run_id: UUID, wake: Wake, *, ends_only: bool = False) -> Iterator[None]:
        """Call `wake` (from another thread) after each change, or the end, while inside."""
        watcher = RunWatcher(wake, ends_only)
        with self._lock:
            self._watchers[run_id].add(watcher)
        self.start()
        try:
            yield
        finally:
            with self._lock:
                self._watchers[run_id].discard(watcher)
                if not self._watchers[run_id]:
                    del self._watchers[run_id]

    @property
    def poll_interval(self) -> float:
        """Seconds after which a waiter should look even if nothing woke it."""
        is_connected = self._connected_at is not None
        return POLL_INTERVAL_CONNECTED if is_connected else POLL_INTERVAL_DISCONNECTED

    def may_have_ended(self, run_id: UUID, *, since: float) -> bool:
        """Return False if this connection would have told of an end of the run, and has not.

        `since` is a moment (`time.monotonic`) before the run was created. Ask while watching.
        """
        with self._lock:
            is_connected = self._connected_at is not None and self._connected_at < since
            return not is_connected or run_id in self._lately_ended

    def start(self) -> None:
        """Open the connection, unless it is open."""
        with self._lock:
            if self._thread is None:
                self._stop.clear()
                self._thread = threading.Thread(target=self._run, name="run-events", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Close the connection; the next waiter opens it again."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._thread = None

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except psycopg.Error as error:
                logger.warning("run events are not received: %s", error)
            finally:
                self._connected_at = None
            self._stop.wait(POLL_INTERVAL_DISCONNECTED)

    def _listen(self) -> None:
        parameters = connection.get_connection_params()
        with psycopg.connect(**parameters, autocommit=True) as listening:
            listening.execute(f"LISTEN {CHANNEL}")
            self._connected_at = time.monotonic()
            # PostgreSQL does not repeat what happened while nobody listened.
            with self._lock:
                watched = set(self._watchers)
            self._wake(watched, ended=True)
            while not self._stop.is_set():
                for notice in listening.notifies(timeout=1.0):
                    self.handle(notice.payload)

    def handle(self, payload: str) -> None:
        """Wake the waiters of the run that a notification names. Others may write to the channel."""
        try:
            run_id = UUID(payload.removesuffix(END))
        except ValueError:
            logger.warning("notification %r on %s is ignored", payload[:100], CHANNEL)
            return
        is_end = payload.endswith(END)
        if is_end:
            self._remember_end(run_id)
        self._wake({run_id}, ended=is_end)

    def _remember_end(self, run_id: UUID) -> None:
        with self._lock:
            self._lately_ended[run_id] = None
            if len(self._lately_ended) > REMEMBERED_ENDS:
                self._lately_ended.popitem(last=False)

    def _wake(self, run_ids: set[UUID], *, ended: bool) -> None:
        with self._lock:
            watchers = [each for run_id in run_ids for each in self._watchers.get(run_id, ())]
        for watcher in watchers:
            if ended or not watcher.ends_only:
                watcher.wake()


listener = RunEventListener()


def has_ended(run_id: UUID) -> bool:
    """Return whether the run has ended."""
    return Run.objects.filter(pk=run_id, status__in=terminal(RUN)).exists()


def wait_until_finished(run_id: UUID, *, timeout: float) -> bool:
    """Wait until the run has ended, at most `timeout` seconds; return whether it has."""
    deadline = time.monotonic() + timeout
    changed = threading.Event()
    with listener.watching(run_id, changed.set, ends_only=True):
        while not has_ended(run_id):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            release_connection()
            changed.wait(min(left, listener.poll_interval))
            changed.clear()
    return True


async def changes(
    run_id: UUID, *, every: float = 15.0, ends_only: bool = False, since: float | None = None
) -> AsyncIterator[None]:
    """Yield at once, after each change of the run, and at least every `every` seconds.

    With `ends_only` the changes before the end of the run are left out. With `since`, a moment before
    the run was created, the first look is left out if the run cannot have ended yet.
    """
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop may have ended between two of our steps
            loop.call_soon_threadsafe(changed.set)

    with listener.watching(run_id, wake, ends_only=ends_only):
        if since is None or listener.may_have_ended(run_id, since=since):
            yield
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(every, listener.poll_interval))
            changed.clear()
            yield


def release_connection() -> None:
    """Return the thread's connection to the pool, unless a transaction is open.

    Threads that wait (for a run, for the queue) are more than the pool has connections.
    """
    if not connection.in_atomic_block:
        connection.close()
