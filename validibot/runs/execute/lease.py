"""The right to work on a run: taken by a conditional update, kept by a heartbeat, given back."""

import datetime as dt
import threading
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


@contextmanager
def kept_alive(lease: Lease) -> Iterator[None]:
    """Renew the lease while inside. A short stay ends before the first beat and costs no query."""
    done = threading.Event()
    beats = threading.Thread(target=_beat, args=(lease, done), name="lease", daemon=True)
    beats.start()
    try:
        yield
    finally:
        done.set()


def _beat(lease: Lease, done: threading.Event) -> None:
    while not done.wait(settings.RUN_LEASE_SECONDS / 3):
        try:
            renewed = lease.held().update(lease_expires_at=timezone.now() + _duration())
        except Error:
            continue  # the database may be back before the lease ends
        finally:
            connection.close()
        if not renewed:
            return


def _duration() -> dt.timedelta:
    return dt.timedelta(seconds=settings.RUN_LEASE_SECONDS)
