"""Procrastinate's job manager with leases, for workers that may be killed or paused.

Procrastinate does not free the tasks of a dead worker, and lets a paused worker end a job that
another one has taken over. `LeasedJobManager` ends only jobs that its worker still holds.
`free_orphans` puts the tasks of workers without a heartbeat back on the queue; any number of workers
may call it at once.
"""

import datetime as dt
import logging
import time
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from procrastinate.connector import BaseAsyncConnector
from procrastinate.contrib.django.models import ProcrastinateWorker
from procrastinate.exceptions import UniqueViolation
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager

from validibot.core import maintenance
from validibot.dispatch.database.backend import QueueOptions
from validibot.dispatch.database.models import QueuedTask
from validibot.dispatch.delivery import add_dead_letter

_HOLDER = "SELECT worker_id FROM procrastinate_jobs WHERE id = %(id)s AND status = 'doing'"
_CLOSED = "SELECT EXISTS (SELECT FROM core_maintenance) AS closed"

logger = logging.getLogger(__name__)


class LeasedJobManager(JobManager):
    """Job manager that ends only the jobs that its worker holds, and fetches none in maintenance."""

    def __init__(self, connector: BaseAsyncConnector) -> None:
        super().__init__(connector)
        self.polled_at = time.monotonic()
        self._worker_id: int | None = None
        self._closed = False
        self._asked_at = -maintenance.REMEMBERED_SECONDS

    async def register_worker(self) -> int:
        self._worker_id = await super().register_worker()
        return self._worker_id

    async def heartbeat(self) -> None:
        """Send a heartbeat. Procrastinate itself sends none while a worker shuts down."""
        if self._worker_id is not None:
            await self.update_heartbeat(self._worker_id)

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        closed = await self._is_closed()
        job = None if closed else await super().fetch_job(queues, worker_id)
        self.polled_at = time.monotonic()
        return job

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        if await self._holds(job):
            await super().finish_job(job, status, delete_job)

    async def retry_job(self, job: Job, *args: Any, **kwargs: Any) -> None:
        if not await self._holds(job):
            return
        try:
            await super().retry_job(job, *args, **kwargs)
        except UniqueViolation:
            # An entry with the same key was added meanwhile and replaces this one.
            await super().finish_job(job, Status.SUCCEEDED, delete_job=True)

    async def _is_closed(self) -> bool:
        now = time.monotonic()
        if now - self._asked_at >= maintenance.REMEMBERED_SECONDS:
            row = await self.connector.execute_query_one_async(query=_CLOSED)
            closed = settings.MAINTENANCE or bool(row["closed"])
            if closed != self._closed:
                logger.info("maintenance is on: no task is taken" if closed else "taking tasks")
            self._closed, self._asked_at = closed, now
        return self._closed

    async def _holds(self, job: Job) -> bool:
        rows = await self.connector.execute_query_all_async(query=_HOLDER, id=job.id)
        holds = [row["worker_id"] for row in rows] == [job.worker_id]
        if not holds:
            logger.warning("task %s was taken over by another worker; its end is ignored", job.id)
        return holds


def free_orphans(options: QueueOptions) -> list[int]:
    """Free the tasks of workers without a heartbeat; return their ids.

    A task that was running when `max_attempts` workers died becomes a dead letter.
    """
    # Heartbeats have the database's time, so compare them with its clock.
    since = Now() - dt.timedelta(seconds=options.lease_seconds)
    alive = ProcrastinateWorker.objects.filter(pk=OuterRef("worker_id"), last_heartbeat__gt=since)
    held = QueuedTask.objects.filter(~Exists(alive), status=QueuedTask.RUNNING)
    with transaction.atomic():
        orphans = list(held.select_for_update(skip_locked=True))
        for task in orphans:
            _free(task, options)
    for task in orphans:
        logger.warning("task %s (%s) is taken over: its worker sends no heartbeat", task.pk, task)
    return [task.pk for task in orphans]


def _free(task: QueuedTask, options: QueueOptions) -> None:
    row, attempts = QueuedTask.objects.filter(pk=task.pk), task.attempts + 1
    if attempts >= options.max_attempts:
        call = (task.args["task"], task.args["args"], task.args["kwargs"])
        error = "The worker died while the task ran."
        add_dead_letter(str(task.pk), call, attempts=attempts, error=error)
        row.delete()
        return
    try:
        with transaction.atomic():
            row.update(status=QueuedTask.WAITING, attempts=attempts, worker=None, scheduled_at=None)
    except IntegrityError:  # another entry with the same key is waiting
        row.delete()
