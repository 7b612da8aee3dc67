"""Procrastinate's ways of fetching and ending a job, where more than one worker may hold it."""

import logging
import time
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from procrastinate.connector import BaseAsyncConnector
from procrastinate.exceptions import UniqueViolation
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager

from validibot.core import maintenance

_HOLDER = "SELECT worker_id FROM procrastinate_jobs WHERE id = %(id)s AND status = 'doing'"
_CLOSED = "SELECT EXISTS (SELECT FROM core_maintenance) AS closed"

logger = logging.getLogger(__name__)


class Jobs(JobManager):
    """A worker that was thought dead does not end what another has taken over from it.

    Under maintenance nothing is fetched: tasks wait, and none of their attempts is spent.
    """

    def __init__(self, connector: BaseAsyncConnector) -> None:
        super().__init__(connector)
        self.polled_at = time.monotonic()
        self._worker_id: int | None = None
        self._closed = False
        self._asked_at = -maintenance.REMEMBERED_SECONDS

    async def register_worker(self) -> int:
        self._worker_id = await super().register_worker()
        return self._worker_id

    async def beat(self) -> None:
        """Give a sign of life: procrastinate's own cease when a worker is told to stop."""
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
            # An entry with the same key was added meanwhile: it does this one's work.
            await super().finish_job(job, Status.SUCCEEDED, delete_job=True)

    async def _is_closed(self) -> bool:
        now = time.monotonic()
        if now - self._asked_at >= maintenance.REMEMBERED_SECONDS:
            row = await self.connector.execute_query_one_async(query=_CLOSED)
            closed = settings.MAINTENANCE or bool(row["closed"])
            if closed != self._closed:
                logger.info(
                    "under maintenance: no task is taken" if closed else "taking tasks again"
                )
            self._closed, self._asked_at = closed, now
        return self._closed

    async def _holds(self, job: Job) -> bool:
        rows = await self.connector.execute_query_all_async(query=_HOLDER, id=job.id)
        holds = [row["worker_id"] for row in rows] == [job.worker_id]
        if not holds:
            logger.warning("task %s was taken over meanwhile; its end here does not count", job.id)
        return holds
