"""Waiting for a run, with PostgreSQL telling who waits."""

import asyncio
import math
import threading
import time
from collections.abc import Iterator

import pytest
from django.db import connection, transaction

from tests.factories import RunFactory
from tests.waiting import LIMIT, until
from validibot.runs.events import (
    POLL_INTERVAL_DISCONNECTED,
    changes,
    listener,
    record,
    wait_until_finished,
)
from validibot.runs.models import Run, RunEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _stopped() -> Iterator[None]:
    """A connection that listens would hold on to the test's database."""
    yield
    listener.stop()


@pytest.fixture
def _no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a waiter that is not woken wait for ever."""
    monkeypatch.setattr("validibot.runs.events.POLL_INTERVAL_CONNECTED", 3600.0)


def connected() -> None:
    """Wait until the listener has its connection."""
    listener.start()
    until(lambda: listener.poll_interval != POLL_INTERVAL_DISCONNECTED)


def later(seconds: float, run: Run) -> threading.Timer:
    """End the run after a moment, in another thread as another process would."""

    def end() -> None:
        Run.objects.filter(pk=run.pk).update(status="SUCCEEDED")
        record(run.pk, RunEvent(kind="passed"))
        connection.close()

    timer = threading.Timer(seconds, end)
    timer.start()
    return timer


@pytest.mark.usefixtures("_no_polls")
def test_waiter_is_woken_by_the_end_of_its_run() -> None:
    run = RunFactory.create()
    connected()
    timer = later(0.2, run)

    assert wait_until_finished(run.pk, timeout=math.inf)

    timer.join()


def test_waiter_returns_false_after_timeout() -> None:
    run = RunFactory.create()

    assert not wait_until_finished(run.pk, timeout=0.2)


def test_wait_for_ended_run_returns_at_once() -> None:
    run = RunFactory.create(status="SUCCEEDED")

    assert wait_until_finished(run.pk, timeout=0)


def test_rolled_back_event_wakes_no_waiter() -> None:
    run = RunFactory.create()
    woken: list[str] = []
    connected()

    with listener.watching(run.pk, lambda: woken.append("rolled back")):
        with transaction.atomic():
            record(run.pk, RunEvent(kind="passed"))
            transaction.set_rollback(True)
        time.sleep(0.2)

    assert woken == []


def test_waiter_for_the_end_ignores_earlier_events() -> None:
    run = RunFactory.create()
    each, end = threading.Event(), threading.Event()
    connected()

    with listener.watching(run.pk, each.set), listener.watching(run.pk, end.set, ends_only=True):
        record(run.pk, RunEvent(kind="launched"))
        assert each.wait(LIMIT)
        assert not end.is_set()
        record(run.pk, RunEvent(kind="passed"))
        assert end.wait(LIMIT)


def test_event_loop_receives_each_change() -> None:
    run = RunFactory.create()
    connected()

    async def watch() -> int:
        count = 0
        async for _ in changes(run.pk, every=3600):
            count += 1
            if count == 3:
                return count
            later(0.05, run)
        return count

    assert asyncio.run(watch()) == 3


def test_waiter_survives_lost_connection() -> None:
    run = RunFactory.create()
    connected()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        )
    timer = later(0.1, run)

    assert wait_until_finished(run.pk, timeout=math.inf)

    timer.join()
    connected()
