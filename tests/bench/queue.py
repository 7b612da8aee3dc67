"""The figures of docs/modes/local.md: `.venv/bin/pytest tests/bench/queue.py -s` prints them."""

import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.utils import timezone

from tests.factories import RunFactory, StepFactory, started_run
from tests.flows.queue_workers import (
    Crew,
    crew,
    empty_queue,
    ended,
    enqueue,
    stuck,
    until,
)
from validibot.dispatch.database.backend import DatabaseBackend
from validibot.dispatch.database.models import QueuedTask
from validibot.runs.models import RunEvent
from validibot.runs.tasks import notify_about_run

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]

PICK_UPS, RUNS, TASKS = 300, 500, 1500


def test_figures(tmp_path: Path, socket_enabled: None) -> None:
    centiles = statistics.quantiles(_pick_up(tmp_path), n=100)
    rows = [("pick-up by an idle worker", f"p50 {centiles[49]:.0f} ms, p99 {centiles[98]:.0f} ms")]
    for workers, name in ((1, "1 worker"), (4, "4 workers")):
        rows.append((f"tasks of one query, {name}", f"{_tasks(tmp_path, workers):.0f} tasks/s"))
        rows.append((f"JSON Schema runs, {name}", f"{_runs(tmp_path, workers):.0f} runs/s"))
    rows.append(("a killed worker's run goes on after", f"{_take_over(tmp_path):.0f} s"))
    print("\n\n| what | measured |\n|---|---|")  # noqa: T201 - this is what it is for
    print("\n".join(f"| {what} | {measured} |" for what, measured in rows))  # noqa: T201


@contextmanager
def _serving(folder: Path, count: int) -> Iterator[Crew]:
    """Have workers as we ship them, each with 4 tasks at a time."""
    empty_queue()
    RunEvent.objects.all().delete()
    with crew(folder, "config.settings.local") as workers:
        for _ in range(count):
            workers.hire(concurrency=4)
        for worker in workers.workers:
            worker.serves()
        yield workers


def _pick_up(folder: Path) -> list[float]:
    """Return the milliseconds from enqueueing a run to the moment in which a worker claims it."""
    step = StepFactory.create()
    delays = []
    with _serving(folder, 1):
        for number in range(1, PICK_UPS + 1):
            run = started_run(step=step)
            put = timezone.now()
            enqueue(run)
            until(ended(number))
            run.refresh_from_db()
            assert run.started_at
            delays.append((run.started_at - put).total_seconds() * 1000)
    return delays


def _rate(workers: Crew, fill: Callable[[], int]) -> float:
    """Let workers sleep while the queue is filled; return how many tasks a second they then do."""
    for worker in workers.workers:
        worker.send(signal.SIGSTOP)
    count = fill()
    started = time.monotonic()
    for worker in workers.workers:
        worker.send(signal.SIGCONT)
    until(lambda: not QueuedTask.objects.exists(), seconds=300)
    return count / (time.monotonic() - started)


def _tasks(folder: Path, workers: int) -> float:
    run = RunFactory.create(user=None)
    backend = DatabaseBackend("default", {})

    def fill() -> int:
        for _ in range(TASKS):
            backend.enqueue(notify_about_run, [str(run.pk)], {})
        return TASKS

    with _serving(folder, workers) as serving:
        return _rate(serving, fill)


def _runs(folder: Path, workers: int) -> float:
    step = StepFactory.create()
    runs = [started_run(step=step) for _ in range(RUNS)]

    def fill() -> int:
        for run in runs:
            enqueue(run)
        return RUNS

    with _serving(folder, workers) as serving:
        return _rate(serving, fill)


def _take_over(folder: Path) -> float:
    step = StepFactory.create()
    with _serving(folder, 1) as workers:
        with stuck(step):
            workers.hire().serves()
            workers.workers[0].send(signal.SIGKILL)
        began = time.monotonic()
        until(ended(1), seconds=120)
        return time.monotonic() - began
