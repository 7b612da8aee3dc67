"""Worker processes of the database queue on the database of the test."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import httpx
import psycopg
from django.db import connection
from django.db.models import QuerySet

from tests import forked, waiting
from tests.factories import started_run
from validibot.dispatch.database.backend import DatabaseBackend
from validibot.dispatch.database.models import QueuedTask
from validibot.runs.events import ENDINGS
from validibot.runs.models import Run, RunEvent
from validibot.runs.tasks import execute_run
from validibot.workflows.models import Step


def until[T](question: Callable[[], T], *, seconds: float = waiting.LIMIT) -> T:
    """Wait until the answer is true, and return it; a worker may be too busy to answer a probe."""
    return waiting.until(question, seconds=seconds, every=0.02, forgive=httpx.TransportError)


def empty_queue() -> None:
    with connection.cursor() as cursor:
        tables = "procrastinate_jobs, procrastinate_workers, procrastinate_periodic_defers"
        cursor.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE")


def enqueue(run: Run) -> None:
    DatabaseBackend("default", {}).enqueue(execute_run, [str(run.pk)], {})


def ended(count: int) -> Callable[[], bool]:
    return lambda: RunEvent.objects.filter(kind__in=ENDINGS).count() >= count


def launch(step: Step, count: int) -> Iterator[Run]:
    for _ in range(count):
        run = started_run(step=step)
        enqueue(run)
        yield run


@contextmanager
def blocked(step: Step, count: int) -> Iterator[list[Run]]:
    """Launch runs that block the workers that execute them, as a long step would."""
    runs = [started_run(step=step) for _ in range(count)]
    with psycopg.connect(**connection.get_connection_params()) as other:
        ids = [run.pk for run in runs]
        other.execute("SELECT 1 FROM runs_run WHERE id = ANY(%s) FOR UPDATE", [ids])
        for run in runs:
            enqueue(run)
        yield runs


@contextmanager
def stuck(step: Step) -> Iterator[Run]:
    """Launch a run and block the worker that executes it."""
    with blocked(step, 1) as (run,):
        until(tasks_of(run).filter(status=QueuedTask.RUNNING).exists)
        yield run


def tasks_of(run: Run) -> QuerySet[QueuedTask]:
    """Return the run's entries of the queue, which has those of periodic work, too."""
    return QueuedTask.objects.filter(args__args=[str(run.pk)])


@dataclass
class Worker:
    """One `manage.py queue_worker`."""

    process: forked.Fork
    log: Path

    def has_begun(self) -> bool:
        return "health at" in self.log.read_text()

    @cached_property
    def url(self) -> str:
        until(self.has_begun)
        (url,) = re.findall(r"health at (\S+?)\"", self.log.read_text())
        return str(url)

    def health(self) -> tuple[int, str]:
        answer = httpx.get(self.url, timeout=waiting.LIMIT)
        return answer.status_code, answer.json()["status"]

    def serves(self) -> "Worker":
        until(lambda: self.health()[0] == 200)
        return self

    def told(self, words: str) -> list[str]:
        whole = self.log.read_text().rpartition("\n")[0]  # the last line may be half written
        lines = map(json.loads, whole.splitlines())
        return [line["message"] for line in lines if words in line["message"]]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        until(lambda: self.process.poll() is not None)
        return self.process.wait()


@dataclass
class Crew:
    """The workers of a test."""

    folder: Path
    settings: str
    workers: list[Worker] = field(default_factory=list)

    def hire(
        self, *, concurrency: int = 2, shutdown_timeout: float = 5, poll_seconds: float = 0.2
    ) -> Worker:
        log = self.folder / f"worker-{len(self.workers)}.log"
        options = ("--health-port", "0", "--concurrency", str(concurrency))
        with log.open("wb") as output:
            process = forked.start(
                *("manage.py", "queue_worker", *options),
                *("--shutdown-timeout", str(shutdown_timeout)),
                environ=_environ()
                | {"DJANGO_SETTINGS_MODULE": self.settings, "POLL_SECONDS": str(poll_seconds)},
                output=output,
            )
        self.workers.append(Worker(process, log))
        return self.workers[-1]

    def told(self, words: str) -> list[str]:
        return [line for worker in self.workers for line in worker.told(words)]


@contextmanager
def crew(folder: Path, settings: str = "tests.flows.queue_settings") -> Iterator[Crew]:
    made = Crew(folder, settings)
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.process.send_signal(signal.SIGKILL)
            worker.process.wait()


def _environ() -> dict[str, str]:
    at = connection.settings_dict
    where = f"{at['USER']}:{at['PASSWORD']}@{at['HOST']}:{at['PORT']}/{at['NAME']}"
    return dict(os.environ) | {  # noqa: TID251 - a test hands it on
        "TASK_QUEUE": "database",
        "DATABASE_URL": f"postgres://{where}",
        "APP_ROLE": "worker",
    }
