"""Both queues, each with a consumer that answers with the statuses of a script."""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from django.db import connection

from tests.emulator.target import Worker
from tests.waiting import LIMIT
from validibot.dispatch.backend import QueueBackend
from validibot.dispatch.database.backend import QueueOptions
from validibot.dispatch.database.worker import QueueWorker
from validibot.dispatch.delivery import DeliveryResult, TaskDelivery


class QueueUnderTest(Protocol):
    """A queue and its consumer. `script` holds the statuses of the next answers, then 200 follows."""

    @property
    def backend(self) -> QueueBackend: ...

    @property
    def script(self) -> list[int]: ...

    def next(self, seconds: float = LIMIT) -> TaskDelivery:
        """Return the next delivery. Raises queue.Empty when none comes in that time."""


@dataclass
class CloudQueue:
    """Cloud Tasks posts to a worker over HTTP."""

    backend: QueueBackend
    worker: Worker

    @property
    def script(self) -> list[int]:
        return self.worker.script

    def next(self, seconds: float = LIMIT) -> TaskDelivery:
        arrival = self.worker.next(seconds, path="/internal/tasks/")
        headers = arrival.headers
        number = int(headers["x-cloudtasks-taskretrycount"])
        return TaskDelivery(arrival.body, headers["x-cloudtasks-taskname"], number)


@dataclass
class DatabaseQueue:
    """A worker takes tasks from the database; `deliver` replaces the product's."""

    backend: QueueBackend
    script: list[int] = field(default_factory=list)
    deliveries: "queue.SimpleQueue[TaskDelivery]" = field(default_factory=queue.SimpleQueue)

    before_answer: Callable[[TaskDelivery], None] = lambda _: None

    def deliver(self, delivery: TaskDelivery) -> DeliveryResult:
        self.before_answer(delivery)
        status = self.script.pop(0) if self.script else 200
        self.deliveries.put(delivery)
        return DeliveryResult(status, f"scripted: {status}")

    def next(self, seconds: float = LIMIT) -> TaskDelivery:
        return self.deliveries.get(timeout=seconds)


@contextmanager
def at_work(options: QueueOptions, *, shutdown_timeout: float = 5) -> Iterator[None]:
    """Run a worker in a thread of this process, and wait for its end."""
    stops: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

    async def work() -> None:
        worker = QueueWorker(options, concurrency=2, shutdown_timeout=shutdown_timeout)
        loop = asyncio.get_running_loop()
        stops.put(lambda: loop.call_soon_threadsafe(worker.stop))
        await worker.run()

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    try:
        yield
    finally:
        stops.get(timeout=LIMIT)()
        thread.join(LIMIT)


def forget_workers() -> None:
    """Remove the rows that workers leave, which no model describes."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs, procrastinate_workers CASCADE")
