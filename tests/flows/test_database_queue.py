"""The database queue with workers that are really there, until they are not."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from django.db import connection, transaction

from tests.factories import StepFactory, started_run
from tests.flows.queue_workers import Crew, crew, until
from validibot.dispatch.database.backend import DatabaseBackend
from validibot.dispatch.database.models import QueuedTask
from validibot.runs.events.record import ENDINGS
from validibot.runs.models import Run, RunEvent, StepRun
from validibot.runs.tasks import execute_run
from validibot.workflows.models import Step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("queue"),
]

RUNS, WORKERS, KILLS = 1000, 4, 6


@pytest.fixture(autouse=True)
def _empty_queue(transactional_db: None) -> Iterator[None]:
    """Procrastinate's tables are not Django's to empty."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs, procrastinate_workers CASCADE")
    yield
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs, procrastinate_workers CASCADE")


@pytest.fixture
def workers(tmp_path: Path, transactional_db: None) -> Iterator[Crew]:
    with crew(tmp_path) as made:
        yield made


@pytest.fixture
def step(transactional_db: None) -> Step:
    return StepFactory.create()


def enqueue(run: Run) -> None:
    DatabaseBackend("default", {}).enqueue(execute_run, [str(run.pk)], {})


def ended(count: int) -> Callable[[], bool]:
    return lambda: RunEvent.objects.filter(kind__in=ENDINGS).count() >= count


def test_no_run_is_lost_and_none_ends_twice_whoever_is_killed(workers: Crew, step: Step) -> None:
    runs = {run.pk for run in _launch(step, RUNS)}
    for _ in range(WORKERS):
        workers.hire()

    for number in range(1, KILLS + 1):
        until(ended(RUNS * number // (KILLS + 1)), seconds=60)
        _kill_one_of(workers)
    until(lambda: not QueuedTask.objects.exists(), seconds=60)

    ends = RunEvent.objects.filter(kind__in=ENDINGS).values_list("run_id", flat=True)
    assert Counter(ends) == dict.fromkeys(runs, 1)
    assert set(Run.objects.values_list("status", flat=True)) == {"SUCCEEDED"}
    assert set(StepRun.objects.values_list("status", flat=True)) == {"PASSED"}
    assert workers.told("is taken over")


def _launch(step: Step, count: int) -> Iterator[Run]:
    for _ in range(count):
        run = started_run(step=step)
        enqueue(run)
        yield run


def _kill_one_of(workers: Crew) -> None:
    """Kill -9 a worker at any moment of its work; another comes in its place."""
    time.sleep(random.uniform(0, 0.1))
    victim = random.choice([each for each in workers.workers if each.process.poll() is None])
    victim.send(signal.SIGKILL)
    workers.hire()
