"""The lease of a run: the right of one worker at a time to go on with it.

It is taken by a conditional update that only one of two workers can win. A heartbeat renews it, and
every write of the worker selects the run by its lease, so a worker that was thought dead writes
nothing any more.
"""

import datetime as dt
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db import Error, connection
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from validibot.runs.models import Run
from validibot.runs.states import RunStatus

logger = logging.getLogger(__name__)


class RunBusy(Exception):
    """Another worker holds the run; ask again after its lease has ended."""


@dataclass(frozen=True, slots=True)
class RunLease:
    """The right to work on a run."""

    run_id: UUID
    token: UUID
    taken_at: dt.datetime

    def held(self) -> "QuerySet[Run]":
        """Select the run's row as long as this lease is valid."""
        return Run.objects.filter(pk=self.run_id, lease_token=self.token, status=RunStatus.RUNNING)

    def release(self) -> None:
        self.held().update(lease_token=None, lease_expires_at=None)


def claim(run_id: UUID) -> RunLease | None:
    """Take the run, if it waits for a worker. Returns None for one that has ended or is held. Raises RunBusy."""
    now = timezone.now()
    lease = RunLease(run_id, uuid.uuid4(), now)
    waiting = Q(status=RunStatus.PENDING, held_at=None) | Q(status=RunStatus.RUNNING) & (
        Q(lease_expires_at=None) | Q(lease_expires_at__lte=now)
    )
    # Of two deliveries at the same moment PostgreSQL lets one update; the other finds no row.
    taken = Run.objects.filter(waiting, pk=run_id).update(
        status=RunStatus.RUNNING,
        started_at=Coalesce(F("started_at"), now),
        lease_token=lease.token,
        lease_expires_at=now + _lease_duration(),
    )
    if taken:
        return lease
    if Run.objects.filter(pk=run_id, status=RunStatus.RUNNING).exists():
        raise RunBusy
    return None


class LeaseHeartbeat:
    """Thread that renews the leases of this process, all at once, three times in a lease's life."""

    def __init__(self) -> None:
        self._tokens: set[UUID] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, lease: RunLease) -> None:
        with self._lock:
            self._tokens.add(lease.token)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()

    def remove(self, lease: RunLease) -> None:
        with self._lock:
            self._tokens.discard(lease.token)

    def renew(self) -> None:
        with self._lock:
            tokens = list(self._tokens)
        if tokens:
            held = Run.objects.filter(lease_token__in=tokens, status=RunStatus.RUNNING)
            held.update(lease_expires_at=timezone.now() + _lease_duration())

    def _run(self) -> None:
        while True:
            time.sleep(settings.RUN_LEASE_SECONDS / 3)
            try:
                self.renew()
            except Error as error:
                # The database may be back before the leases end.
                logger.warning("leases are not renewed: %s", error)
            finally:
                connection.close()


leases = LeaseHeartbeat()


@contextmanager
def heartbeat(lease: RunLease) -> Iterator[None]:
    """Renew a lease while inside. A stay that ends before the first renewal costs nothing."""
    leases.add(lease)
    try:
        yield
    finally:
        leases.remove(lease)


def _lease_duration() -> dt.timedelta:
    return dt.timedelta(seconds=settings.RUN_LEASE_SECONDS)
