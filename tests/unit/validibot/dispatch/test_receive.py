"""Deliveries become calls of tasks, and calls become answers for the queue."""

import json
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError

from validibot.dispatch import TryLater
from validibot.dispatch.receive import Delivery, deliver, find_task
from validibot.runs.tasks import execute_run

PATH = "validibot.runs.tasks.execute_run"


def delivery(**changes: Any) -> Delivery:
    call = {"task": PATH, "args": ["42"], "kwargs": {}} | changes
    return Delivery(json.dumps(call).encode(), task_id="t1", number=2)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the task was called with; an exception in it is raised."""
    seen: list[Any] = []

    def call(self: object, *args: Any, **kwargs: Any) -> None:
        if seen and isinstance(seen[0], Exception):
            raise seen[0]
        seen.append(args)

    monkeypatch.setattr(type(execute_run), "call", call)
    return seen


def test_a_delivery_calls_its_task_with_its_context(calls: list[Any]) -> None:
    assert deliver(delivery()).status == 200

    [(context, argument)] = calls
    assert argument == "42"
    assert (context.task_result.id, context.attempt) == ("t1", 3)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TryLater("busy"), 409),
        (OperationalError("gone"), 503),
        (InterfaceError("closed"), 503),
        (ValueError("a bug"), 500),
    ],
)
def test_what_failed_is_delivered_again(calls: list[Any], error: Exception, status: int) -> None:
    calls.append(error)

    assert deliver(delivery()).status == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b"\xff",
        b"[" * 50_000,
        b'{"task": "x"}',
        b'{"task": 1, "args": [], "kwargs": {}}',
        b'{"task": "validibot.runs.tasks.execute_run", "args": {}, "kwargs": {}}',
    ],
)
def test_what_is_no_delivery_is_dropped_for_it_would_never_become_one(body: bytes) -> None:
    outcome = deliver(Delivery(body))

    assert outcome.status == 200
    assert outcome.message.startswith("dropped")


def test_a_task_that_only_a_newer_worker_knows_comes_again() -> None:
    assert deliver(delivery(task="validibot.runs.tasks.of_tomorrow")).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "django.core.management.call_command",
        "validibot.runs.tasks.follow",
        "validibot.runs.tasks.nothing",
        "validibot.nothing.tasks.x",
        "validibot.runs..tasks",
        "a" * 10_000,
    ],
)
def test_only_tasks_of_ours_can_be_called(path: str) -> None:
    assert find_task(path) is None


def test_tasks_of_ours_are_found_wherever_they_are() -> None:
    for path in (PATH, "validibot.runs.reconcile.watch_attempt"):
        found = find_task(path)
        assert found is not None
        assert found.module_path == path
