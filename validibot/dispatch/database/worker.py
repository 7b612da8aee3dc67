"""The worker: procrastinate's, with our deliveries, our limits and our end."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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

from validibot.dispatch.database.backend import DELIVER
from validibot.dispatch.database.jobs import Jobs
from validibot.dispatch.database.options import Options
from validibot.dispatch.database.upkeep import note_failure, take_over
from validibot.dispatch.receive import Delivery, Outcome, deliver

# Our own connections beside those of the tasks: fetching, ending, and the answer about our health.
_CONNECTIONS = 3
_HEALTH_SECONDS = 2.0
_UNREACHABLE = (ProcrastinateException, OperationalError, TimeoutError, OSError)

logger = logging.getLogger(__name__)


class NotDone(Exception):
    """A delivery must come again."""


class Backoff(BaseRetryStrategy):
    """Later and later; what we ourselves put back at our end is free for others at once."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision(retry_at=timezone.now())
        attempts = job.attempts + 1
        if attempts >= self.options.max_attempts:
            return None
        return RetryDecision(retry_at=timezone.now() + self.options.backoff(attempts))


class QueueWorker:
    """Takes tasks from the queue until it is told to stop, through every outage of the database."""

    def __init__(self, options: Options, *, concurrency: int, shutdown_timeout: float) -> None:
        self.options = options
        self.concurrency = concurrency
        self.shutdown_timeout = shutdown_timeout
        self.busy = Counter()
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="task")
        self._stopping = asyncio.Event()
        self._jobs: Jobs | None = None

    def stop(self) -> None:
        """Take nothing more; what runs may end within the time for it, the rest is put back."""
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

    async def complaint(self) -> str:
        """Return why this worker does not serve; empty if it does."""
        if self._stopping.is_set():
            return "stopping"
        if self._jobs is None:
            return "not polling"
        try:
            await asyncio.wait_for(self._jobs.check_connection_async(), _HEALTH_SECONDS)
        except _UNREACHABLE:
            return "database unreachable"
        return "not polling" if self._silent(self._jobs) else ""

    def _silent(self, jobs: Jobs) -> bool:
        if self.busy.count >= self.concurrency:
            return False  # it may not take more
        return time.monotonic() - jobs.polled_at > self.options.poll_seconds + _HEALTH_SECONDS

    async def _serve(self) -> None:
        connector = PsycopgConnector(
            kwargs=connector_params(),
            configure=_configure,
            min_size=1,
            max_size=_CONNECTIONS,
            timeout=10,
        )
        app = self._app(connector)
        app.job_manager = self._jobs = jobs = Jobs(connector)
        async with app.open_async():
            working = asyncio.create_task(self._work(app))
            keeping = asyncio.create_task(self._keep(jobs))
            stopping = asyncio.create_task(self._stopping.wait())
            tasks = (working, keeping, stopping)
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            working.cancel()
            await asyncio.wait({working})  # what it has begun may take longer than its lease
            for each in tasks:
                each.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def _app(self, connector: PsycopgConnector) -> App:
        app = App(connector=connector)
        task = app.task(name=DELIVER, pass_context=True, retry=Backoff(self.options))(self._deliver)
        for path, due in self.options.periodic.items():
            call: JSONDict = {"task": path, "args": [], "kwargs": {}}
            app.periodic(cron=due, periodic_id=path, task_kwargs=call)(task)
        return app

    async def _work(self, app: App) -> None:
        """Run procrastinate's worker; cancelled, it ends as `stop` says."""
        await app.run_worker_async(
            concurrency=self.concurrency,
            fetch_job_polling_interval=self.options.poll_seconds,
            shutdown_graceful_timeout=self.shutdown_timeout,
            delete_jobs="successful",
            install_signal_handlers=False,
            update_heartbeat_interval=self.options.beat_seconds,
            stalled_worker_timeout=self.options.lease_seconds,
        )

    async def _keep(self, jobs: Jobs) -> None:
        """Show that this worker lives, and look after the tasks of others that do not."""
        while True:
            try:
                await jobs.beat()
                await asyncio.to_thread(_with_a_connection, take_over, self.options)
            except (Error, *_UNREACHABLE) as error:
                logger.warning("nothing can be taken over now: %s", error)
            await asyncio.sleep(self.options.beat_seconds)

    async def _deliver(self, context: JobContext, /, *_: Any, **call: Any) -> None:
        """Do what a row asks for, in a thread. Cancelled, the thread is left to itself."""
        loop = asyncio.get_running_loop()
        outcome = await loop.run_in_executor(self._threads, self._call, context.job)
        if not outcome.done:
            raise NotDone(outcome.message)

    def _call(self, job: Job) -> Outcome:
        with self.busy:
            return _with_a_connection(_do, job)


class Counter:
    """How many threads are inside."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.count -= 1


async def _configure(connection: AsyncConnection[Any]) -> None:
    """Make PostgreSQL find the next task by index, however wrong it is about the table's size.

    A queue is empty when it is analysed and full when it counts; to sort it for each task that is
    fetched costs milliseconds more for every thousand that wait.
    """
    # All that procrastinate does is one statement: a transaction around it would be two more.
    await connection.set_autocommit(True)
    await connection.execute("SET enable_sort = off")
    await connection.execute("SET enable_bitmapscan = off")


def _do(job: Job) -> Outcome:
    call = {name: job.task_kwargs.get(name) for name in ("task", "args", "kwargs")}
    outcome = deliver(Delivery(json.dumps(call).encode(), str(job.id), job.attempts))
    if not outcome.done and job.id:
        try:
            note_failure(job.id, job.task_kwargs, outcome.error or outcome.message)
        except Error as error:
            logger.warning("the failure of task %s is not noted: %s", job.id, error)
    return outcome


def _with_a_connection[A, R](work: Callable[[A], R], argument: A) -> R:
    """Give the thread's connection back afterwards, as Django does after a request."""
    try:
        return work(argument)
    finally:
        connection.close()
