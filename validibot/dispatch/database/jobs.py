"""Procrastinate's ways of fetching and ending a job, where more than one worker may hold it."""

import logging
import time
from collections.abc import Iterable
from typing import Any

from procrastinate.connector import BaseAsyncConnector
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager

_HOLDER = "SELECT worker_id FROM procrastinate_jobs WHERE id = %(id)s AND status = 'doing'"

logger = logging.getLogger(__name__)


class Jobs(JobManager):
    """A worker that was thought dead does not end what another has taken over from it."""

    def __init__(self, connector: BaseAsyncConnector) -> None:
        super().__init__(connector)
        self.polled_at = time.monotonic()

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        job = await super().fetch_job(queues, worker_id)
        self.polled_at = time.monotonic()
        return job

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        if await self._holds(job):
            await super().finish_job(job, status, delete_job)

    async def retry_job(self, job: Job, *args: Any, **kwargs: Any) -> None:
        if await self._holds(job):
            await super().retry_job(job, *args, **kwargs)

    async def _holds(self, job: Job) -> bool:
        rows = await self.connector.execute_query_all_async(query=_HOLDER, id=job.id)
        holds = [row["worker_id"] for row in rows] == [job.worker_id]
        if not holds:
            logger.warning("task %s was taken over meanwhile; its end here does not count", job.id)
        return holds
