"""The right to work on a run: taken by a conditional update, kept by a heartbeat, given back."""

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


class Busy(Exception):
    """Another worker holds the run; ask again after its lease has ended."""


@dataclass(frozen=True, slots=True)
class Lease:
    run_id: UUID
    token: UUID
    taken_at: dt.datetime

    def held(self) -> "QuerySet[Run]":
        """Select the run's row as long as this lease is worth something."""
        return Run.objects.filter(pk=self.run_id, lease_token=self.token, status=RunStatus.RUNNING)

    def release(self) -> None:
        self.held().update(lease_token=None, lease_expires_at=None)


def claim(run_id: UUID) -> Lease | None:
    """Take the run, if it waits for a worker. Returns None for an ended run. Raises Busy."""
    now = timezone.now()
    lease = Lease(run_id, uuid.uuid4(), now)
    waiting = Q(status=RunStatus.PENDING) | Q(status=RunStatus.RUNNING) & (
        Q(lease_expires_at=None) | Q(lease_expires_at__lte=now)
    )
    # Of two deliveries at the same moment PostgreSQL lets one update; the other finds no row.
    taken = Run.objects.filter(waiting, pk=run_id).update(
        status=RunStatus.RUNNING,
        started_at=Coalesce(F("started_at"), now),
        lease_token=lease.token,
        lease_expires_at=now + _duration(),
    )
    if taken:
        return lease
    if Run.objects.filter(pk=run_id, status=RunStatus.RUNNING).exists():
        raise Busy
    return None


class Heart:
    """Renews the leases that this process holds, all at once, three times in a lease's life."""

    def __init__(self) -> None:
        self._tokens: set[UUID] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def beating_for(self, lease: Lease) -> Iterator[None]:
        """Keep a lease alive while inside. A stay that ends before the first beat costs nothing."""
        with self._lock:
            self._tokens.add(lease.token)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._tokens.discard(lease.token)

    def beat(self) -> None:
        with self._lock:
            tokens = list(self._tokens)
        if tokens:
            held = Run.objects.filter(lease_token__in=tokens, status=RunStatus.RUNNING)
            held.update(lease_expires_at=timezone.now() + _duration())

    def _run(self) -> None:
        while True:
            time.sleep(settings.RUN_LEASE_SECONDS / 3)
            try:
                self.beat()
            except Error as error:
                # The database may be back before the leases end.
                logger.warning("leases are not renewed: %s", error)
            finally:
                connection.close()


heart = Heart()


def _duration() -> dt.timedelta:
    return dt.timedelta(seconds=settings.RUN_LEASE_SECONDS)
