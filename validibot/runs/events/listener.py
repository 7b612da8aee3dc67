"""One connection per process that hears of changes and wakes all who watch the run.

It is opened when somebody first watches and lives as long as the process. When PostgreSQL goes
away it is opened again; until then watchers must look for themselves (`patience`).
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
from django.db import connection

from validibot.runs.events.record import CHANNEL, END

# How long a watcher may sleep without looking: while we hear, and while we are deaf.
HEARING_SECONDS = 15.0
DEAF_SECONDS = 1.0

logger = logging.getLogger(__name__)

type Wake = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who watches a run: `wake` is called after each change, or only after the end of the run."""

    wake: Wake
    ends_only: bool


class Listener:
    def __init__(self) -> None:
        self._watchers: dict[UUID, set[Watcher]] = defaultdict(set)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._hears = False

    @contextmanager
    def watching(self, run_id: UUID, wake: Wake, *, ends_only: bool = False) -> Iterator[None]:
        """Call `wake` (from another thread) after each change, or the end, while inside."""
        watcher = Watcher(wake, ends_only)
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
    def patience(self) -> float:
        """Seconds after which a watcher should look even if nothing woke it."""
        return HEARING_SECONDS if self._hears else DEAF_SECONDS

    def start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._stop.clear()
                self._thread = threading.Thread(target=self._run, name="run-events", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Close the connection; the next watcher opens it again."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._thread = None

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except psycopg.Error as error:
                logger.warning("run events are not heard: %s", error)
            finally:
                self._hears = False
            self._stop.wait(DEAF_SECONDS)

    def _listen(self) -> None:
        parameters = connection.get_connection_params()
        with psycopg.connect(**parameters, autocommit=True) as listening:
            listening.execute(f"LISTEN {CHANNEL}")
            self._hears = True
            # What happened while we were deaf is not repeated.
            with self._lock:
                watched = set(self._watchers)
            self._wake(watched, ended=True)
            while not self._stop.is_set():
                for notice in listening.notifies(timeout=1.0):
                    run_id = UUID(notice.payload.removesuffix(END))
                    self._wake({run_id}, ended=notice.payload.endswith(END))

    def _wake(self, run_ids: set[UUID], *, ended: bool) -> None:
        with self._lock:
            watchers = [each for run_id in run_ids for each in self._watchers.get(run_id, ())]
        for watcher in watchers:
            if ended or not watcher.ends_only:
                watcher.wake()


listener = Listener()
