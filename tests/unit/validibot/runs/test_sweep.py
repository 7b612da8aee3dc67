"""The sweep: which runs it puts on the queue again, in which order and under which names."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from tests.factories import AttemptFactory, RunFactory
from tests.unit.validibot.runs.scripted import ScriptedProvider
from validibot.runs import queue
from validibot.runs.execute import execute
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Attempt, Run
from validibot.runs.sweep import run_sweep

pytestmark = pytest.mark.django_db


def test_sweep_enqueues_the_oldest_run_first(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    runs = [RunFactory.create() for _ in range(3)]
    for minutes, run in zip((5, 9, 7), runs, strict=True):
        then = now - dt.timedelta(minutes=minutes)
        Run.objects.filter(pk=run.pk).update(created_at=then, enqueued_at=then)
    keys: list[str] = []

    def enqueue_once(task: object, run_id: str, *, key: str) -> bool:
        keys.append(key)
        return run_id != str(runs[1].pk)  # its entry is there

    monkeypatch.setattr(queue, "enqueue_once", enqueue_once)
    assert run_sweep()["enqueued"] == 2

    oldest_first = [runs[1], runs[2], runs[0]]
    assert [key.rpartition("-")[0] for key in keys] == [f"execute-{r.pk}" for r in oldest_first]
    assert run_sweep()["enqueued"] == 0  # a minute has not passed


def test_sweep_enqueues_unchecked_runs_before_those_checked_longest_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = timezone.now()
    runs = [RunFactory.create() for _ in range(3)]
    for run, created, checked in zip(runs, (9, 7, 5), (3, 4, None), strict=True):
        then = now - dt.timedelta(minutes=created)
        checked_at = now - dt.timedelta(minutes=checked) if checked else None
        Run.objects.filter(pk=run.pk).update(
            created_at=then, enqueued_at=then, checked_at=checked_at
        )
    enqueued: list[str] = []

    def enqueue_once(task: object, run_id: str, *, key: str) -> bool:
        enqueued.append(run_id)
        return True

    monkeypatch.setattr(queue, "enqueue_once", enqueue_once)
    run_sweep()

    assert enqueued == [str(runs[index].pk) for index in (2, 1, 0)]


def test_queue_entry_keeps_its_name_for_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFactory.create()
    keys: list[str] = []

    def enqueue_once(task: object, run_id: str, *, key: str) -> bool:
        keys.append(key)
        return True

    monkeypatch.setattr(queue, "enqueue_once", enqueue_once)

    for minutes in (2, 59, 61):
        then = timezone.now() - dt.timedelta(minutes=minutes)
        Run.objects.update(enqueued_at=then, checked_at=None)
        before = int(then.timestamp() * 1000)
        run_sweep()
        assert (keys[-1] == f"execute-{run.pk}-{before}") == (minutes < 60)


def test_unavailable_queue_does_not_stop_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFactory.create()
    Run.objects.update(enqueued_at=timezone.now() - dt.timedelta(minutes=2))

    def fail(*_: object, **__: object) -> bool:
        raise OSError("no connection")

    monkeypatch.setattr(queue, "enqueue_once", fail)

    assert run_sweep()["enqueued"] == 0
    run.refresh_from_db()
    assert run.status == "PENDING"


def test_start_uses_the_name_that_the_sweep_uses(
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    run = RunFactory.create()
    Run.objects.update(enqueued_at=timezone.now() - dt.timedelta(minutes=2))
    run.refresh_from_db()
    keys: list[str] = []

    def enqueue_once(task: object, run_id: str, *, key: str) -> bool:
        keys.append(key)
        return True

    monkeypatch.setattr(queue, "enqueue_once", enqueue_once)

    with django_capture_on_commit_callbacks(execute=True):
        queue.enqueue_run(run)
    run_sweep()

    assert len(keys) == 2
    assert len(set(keys)) == 1


@pytest.mark.django_db(transaction=True)
def test_sweep_passes_by_runs_that_another_sweep_holds() -> None:
    run = RunFactory.create()
    Run.objects.update(enqueued_at=timezone.now() - dt.timedelta(minutes=2))

    def sweep() -> dict[str, int]:
        try:
            return run_sweep()
        finally:
            connection.close()

    with ThreadPoolExecutor() as pool, transaction.atomic():
        Run.objects.select_for_update().get(pk=run.pk)
        assert pool.submit(sweep).result(timeout=60)["enqueued"] == 0


def test_cancellations_that_fail_do_not_hide_the_others(
    provider: ScriptedProvider, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validibot.runs.sweep.BATCH", 1)
    execute(container_run.pk)
    cancel_run(container_run.pk, actor="ada")
    first = Attempt.objects.get()
    AttemptFactory.create(
        state="CANCELED", execution="execution-2", cancel_requested_at=timezone.now()
    )

    for _ in range(4):
        assert run_sweep()["cancelled"] == 1

    assert provider.cancelled == [first.execution, "execution-2"] * 2
