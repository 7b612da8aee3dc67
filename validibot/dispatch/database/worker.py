"""The process that runs the tasks of the database queue.

Procrastinate's worker fetches, retries, listens for new entries and defers the periodic tasks. This
module adds what it lacks. Tasks run in threads, each with a Django connection. A thread that does
not end in time is abandoned, and its task is put back on the queue. The worker survives outages of
the database, sends heartbeats while it shuts down, and frees the tasks of workers that died.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.db import Error, connection
from django.utils import timezone
from procrastinate import App, JobContext
from procrastinate.contrib.django.utils import connector_params
from procrastinate.exceptions import ProcrastinateException
from procrastinate.jobs import Job
from procrastinate.psycopg_connector import PsycopgConnector
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.types import JSONDict
from psycopg import AsyncConnection, OperationalError

from validibot.dispatch.database.backend import DELIVER, QueueOptions
from validibot.dispatch.database.jobs import LeasedJobManager, free_orphans
from validibot.dispatch.delivery import DeliveryResult, TaskDelivery, deliver

# The worker's own connections, in addition to those of the tasks: fetch, end, health.
_CONNECTIONS = 3
_HEALTH_SECONDS = 2.0
_UNREACHABLE = (ProcrastinateException, OperationalError, TimeoutError, OSError)
_random = random.SystemRandom()

logger = logging.getLogger(__name__)


class DeliverAgain(Exception):
    """Tells procrastinate to retry a delivery that failed."""


class JitteredBackoff(BaseRetryStrategy):
    """Exponential backoff with jitter; tasks that are put back on shutdown are retried at once."""

    def __init__(self, options: QueueOptions) -> None:
        self.options = options

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:
        now = timezone.now()
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision(retry_at=now)
        # Attempts count from 0. `deliver` ends a task that has failed too often.
        longest = min(
            self.options.min_backoff * 2 ** min(job.attempts, 32), self.options.max_backoff
        )
        return RetryDecision(
            retry_at=now + timedelta(seconds=_random.uniform(longest / 2, longest))
        )


class QueueWorker:
    """A worker that takes tasks from the queue until `stop` is called."""

    def __init__(self, options: QueueOptions, *, concurrency: int, shutdown_timeout: float) -> None:
        self.options = options
        self.concurrency = concurrency
        self.shutdown_timeout = shutdown_timeout
        self.running: set[Future[DeliveryResult]] = set()
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="task")
        self._stopping = asyncio.Event()
        self._jobs: LeasedJobManager | None = None

    def stop(self) -> None:
        """Stop fetching tasks; put those back that run longer than `shutdown_timeout`."""
        self._stopping.set()

    async def run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._serve()
            except _UNREACHABLE as error:
                logger.warning("the queue cannot be reached: %s", error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self.options.poll_seconds)
        self._threads.shutdown(wait=False)

    async def fault(self) -> str:
        """Return the reason why this worker is not healthy; "" if it is."""
        if self._stopping.is_set():
            return "stopping"
        if self._jobs is None:
            return "not polling"
        try:
            await asyncio.wait_for(self._jobs.check_connection_async(), _HEALTH_SECONDS)
        except _UNREACHABLE:
            return "database unreachable"
        is_full = len(self.running) >= self.concurrency
        silent = time.monotonic() - self._jobs.polled_at
        if not is_full and silent > self.options.poll_seconds + _HEALTH_SECONDS:
            return "not polling"
        return ""

    async def _serve(self) -> None:
        connector = PsycopgConnector(
            kwargs=connector_params(),
            configure=_configure,
            min_size=1,
            max_size=_CONNECTIONS,
            timeout=10,
        )
        app = self._app(connector)
        app.job_manager = self._jobs = jobs = LeasedJobManager(connector)
        async with app.open_async():
            working = asyncio.create_task(self._work(app))
            keeping = asyncio.create_task(self._keep(jobs))
            stopping = asyncio.create_task(self._stopping.wait())
            tasks = (working, keeping, stopping)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            working.cancel()
            await asyncio.wait({working})  # may take longer than the lease, so heartbeats go on
            for each in tasks:
                each.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _app(self, connector: PsycopgConnector) -> App:
        app = App(connector=connector)
        retry = JitteredBackoff(self.options)
        task = app.task(name=DELIVER, pass_context=True, retry=retry)(self._deliver)
        for path, due in self.options.periodic.items():
            call: JSONDict = {"task": path, "args": [], "kwargs": {}}
            app.periodic(cron=due, periodic_id=path, task_kwargs=call)(task)
        return app

    async def _work(self, app: App) -> None:
        """Run procrastinate's worker; cancelling it starts its graceful shutdown."""
        await app.run_worker_async(
            concurrency=self.concurrency,
            fetch_job_polling_interval=self.options.poll_seconds,
            shutdown_graceful_timeout=self.shutdown_timeout,
            delete_jobs="successful",
            install_signal_handlers=False,
            update_heartbeat_interval=self.options.heartbeat_seconds,
            stalled_worker_timeout=self.options.lease_seconds,
        )

    async def _keep(self, jobs: LeasedJobManager) -> None:
        """Send heartbeats, and free the tasks of workers that send none."""
        while True:
            try:
                await jobs.heartbeat()
                await asyncio.to_thread(_with_connection, free_orphans, self.options)
            except (Error, *_UNREACHABLE) as error:
                logger.warning("cannot look for tasks of dead workers: %s", error)
            await asyncio.sleep(self.options.heartbeat_seconds)

    async def _deliver(self, context: JobContext, /, *_: Any, **call: Any) -> None:
        """Run a task in a thread, which runs on if this coroutine is cancelled."""
        running = self._threads.submit(_with_connection, _run, context.job)
        self.running.add(running)
        running.add_done_callback(self.running.discard)
        result = await asyncio.wrap_future(running)
        if not result.done:
            raise DeliverAgain(result.message)


async def _configure(connection: AsyncConnection[Any]) -> None:
    """Make PostgreSQL find the next task by index even if its statistics are wrong.

    A queue is often empty when it is analysed. With these statistics PostgreSQL would sort all
    waiting tasks for each fetch, which costs milliseconds for every thousand.
    """
    # Procrastinate sends single statements: a transaction around each would add two more.
    await connection.set_autocommit(True)
    await connection.execute("SET enable_sort = off")
    await connection.execute("SET enable_bitmapscan = off")


def _run(job: Job) -> DeliveryResult:
    call = {name: job.task_kwargs.get(name) for name in ("task", "args", "kwargs")}
    return deliver(TaskDelivery(json.dumps(call).encode(), str(job.id), job.attempts))


def _with_connection[A, R](function: Callable[[A], R], argument: A) -> R:
    """Call a function and return the thread's connection to the pool, as Django does per request."""
    try:
        return function(argument)
    finally:
        connection.close()
