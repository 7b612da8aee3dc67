"""The database queue with real worker processes that are killed, paused and stopped."""

import datetime as dt
import math
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from tests.factories import StepFactory, started_run
from tests.flows.queue_workers import (
    Crew,
    Worker,
    blocked,
    crew,
    empty_queue,
    ended,
    launch,
    stuck,
    tasks_of,
    until,
)
from tests.waiting import LIMIT
from validibot.dispatch.database.models import QueuedTask
from validibot.runs.events import ENDINGS
from validibot.runs.models import Run, RunEvent, StepRun
from validibot.workflows.models import Step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("queue"),
]

RUNS, WORKERS, KILLS = 100, 3, 2
_chance = random.SystemRandom()


@pytest.fixture(autouse=True)
def _empty_queue(transactional_db: None) -> Iterator[None]:
    """Empty procrastinate's tables, which Django's test runner does not flush."""
    empty_queue()
    yield
    empty_queue()


@pytest.fixture
def workers(tmp_path: Path, transactional_db: None) -> Iterator[Crew]:
    with crew(tmp_path) as made:
        yield made


@pytest.fixture
def step(transactional_db: None) -> Step:
    return StepFactory.create()


def test_kill_of_workers_loses_and_doubles_no_run(workers: Crew, step: Step) -> None:
    runs = {run.pk for run in launch(step, RUNS)}
    # The last runs wait for the kills: a busy machine may end all others before the second one.
    with blocked(step, 2 * WORKERS) as last:
        runs |= {run.pk for run in last}
        for _ in range(WORKERS):
            workers.hire()
        for number in range(1, KILLS + 1):
            until(ended(RUNS * number // (KILLS + 1)), seconds=120)
            _kill_one_of(workers)
    until(lambda: not QueuedTask.objects.exists(), seconds=120)

    ends = RunEvent.objects.filter(kind__in=ENDINGS).values_list("run_id", flat=True)
    assert Counter(ends) == dict.fromkeys(runs, 1)
    assert set(Run.objects.values_list("status", flat=True)) == {"SUCCEEDED"}
    assert set(StepRun.objects.values_list("status", flat=True)) == {"PASSED"}
    assert workers.told("is taken over")


def _kill_one_of(workers: Crew) -> None:
    """Kill a worker with SIGKILL while it holds a task, and start another one."""
    victim, *others = until(lambda: _stopped_at_work(workers))
    victim.send(signal.SIGKILL)
    for each in others:
        each.send(signal.SIGCONT)
    workers.hire()


def _stopped_at_work(workers: Crew) -> list[Worker]:
    """Stop the workers that have begun; return them in any order if each of them holds a task."""
    lives = [each for each in workers.workers if each.process.poll() is None and each.has_begun()]
    for each in lives:
        each.send(signal.SIGSTOP)
    if QueuedTask.objects.filter(status=QueuedTask.RUNNING).count() > 2 * (len(lives) - 1):
        return _chance.sample(lives, len(lives))  # no worker has more than two
    for each in lives:
        each.send(signal.SIGCONT)
    return []


def test_task_of_killed_worker_is_taken_over_after_lease(workers: Crew, step: Step) -> None:
    first = workers.hire(concurrency=1).serves()
    with stuck(step):
        second = workers.hire().serves()
        first.send(signal.SIGKILL)
        first.ends()

    until(ended(1))

    assert second.told("is taken over")
    assert [event.kind for event in RunEvent.objects.filter(kind__in=ENDINGS)] == ["passed"]


def test_paused_worker_does_not_end_task_taken_over(workers: Crew, step: Step) -> None:
    sleeper = workers.hire(concurrency=1).serves()
    with stuck(step):
        other = workers.hire().serves()
        sleeper.send(signal.SIGSTOP)
    until(ended(1))
    until(lambda: not QueuedTask.objects.exists())
    workers.hire().serves().send(signal.SIGKILL)  # a new worker removes those without a heartbeat

    sleeper.send(signal.SIGCONT)

    until(lambda: sleeper.told("was taken over by another worker"))
    assert RunEvent.objects.filter(kind__in=ENDINGS).count() == 1
    other.send(signal.SIGKILL)
    other.ends()
    list(launch(step, 1))
    until(ended(2))


def test_sigterm_lets_running_task_finish(workers: Crew, step: Step) -> None:
    worker = workers.hire(shutdown_timeout=LIMIT).serves()
    with stuck(step) as run:
        worker.send(signal.SIGTERM)
        until(lambda: worker.health() == (503, "stopping"))

    assert worker.ends() == 0
    assert ended(1)()
    assert not tasks_of(run).exists()


def test_stopping_worker_sends_heartbeats(workers: Crew, step: Step) -> None:
    worker = workers.hire(shutdown_timeout=LIMIT).serves()
    with stuck(step) as run:
        workers.hire().serves()
        worker.send(signal.SIGTERM)
        late = timezone.now() + dt.timedelta(seconds=6)  # its lease is 5 s
        held = tasks_of(run).filter(status=QueuedTask.RUNNING)
        until(held.filter(worker__last_heartbeat__gt=late).exists)

    assert worker.ends() == 0
    assert ended(1)()
    assert not workers.told("taken over")


def test_task_over_shutdown_timeout_is_put_back(workers: Crew, step: Step) -> None:
    worker = workers.hire(shutdown_timeout=0.5).serves()
    with stuck(step) as run:
        worker.send(signal.SIGTERM)
        assert worker.ends() == 0
        task = tasks_of(run).get()
        assert (task.state, task.attempts) == ("waiting", 1)

    workers.hire()
    until(ended(1))


@contextmanager
def no_connections() -> Iterator[None]:
    """Refuse all other connections to the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), current_database()")
        ours, name = cursor.fetchone()
    params = connection.get_connection_params() | {"dbname": "postgres", "autocommit": True}
    with psycopg.connect(**params) as admin:
        try:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            admin.execute(f"{others} WHERE datname = %s AND pid <> %s", [name, ours])
            yield
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_worker_survives_database_outage(workers: Crew, step: Step) -> None:
    worker = workers.hire().serves()
    with no_connections():
        until(lambda: worker.health() == (503, "database unreachable"))

    worker.serves()
    list(launch(step, 1))
    until(ended(1))


def test_many_workers_sweep_once_a_minute(workers: Crew, step: Step) -> None:
    started = time.time()
    lost = started_run(step=step)
    long_ago = timezone.now() - dt.timedelta(seconds=61)
    Run.objects.filter(pk=lost.pk).update(enqueued_at=long_ago)

    for _ in range(3):
        workers.hire()
    for worker in workers.workers:
        worker.serves()
    until(ended(1))

    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM procrastinate_jobs_id_seq")
        (tasks,) = cursor.fetchone()
    minutes = math.floor(time.time() / 60) - math.floor(started / 60) + 1
    assert tasks <= minutes + 1, "a sweep for each minute, and the run that it found"


def test_enqueue_wakes_idle_worker(workers: Crew, step: Step) -> None:
    others = _listeners()  # of a worker that was killed, of this process, of another database
    workers.hire(poll_seconds=3600).serves()
    until(lambda: _listeners() - others)

    for number, _ in enumerate(launch(step, 3), start=1):
        until(ended(number))


def _listeners() -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'")
        return {pid for (pid,) in cursor.fetchall()}
