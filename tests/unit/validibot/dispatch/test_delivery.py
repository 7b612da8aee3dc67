"""Deliveries: the call, the answer for the queue, and dead letters."""

import datetime as dt
import json
from typing import Any

import pytest
import time_machine
from django.db import DatabaseError, InterfaceError, OperationalError
from django.tasks import default_task_backend

from validibot.dispatch import TryLater
from validibot.dispatch.delivery import (
    DeliveryResult,
    TaskDelivery,
    add_dead_letter,
    deliver,
    find_task,
    queue_account,
    requeue,
)
from validibot.dispatch.models import DeadLetter
from validibot.engines import EngineBusy
from validibot.runs.tasks import execute_run

NOW = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
PATH = "validibot.runs.tasks.execute_run"
RUN_ID = "5c2dd5b2-3c1e-4d1f-9a77-0d5a7d3fbb3e"


def delivery(**changes: Any) -> TaskDelivery:
    call = {"task": PATH, "args": [RUN_ID], "kwargs": {}} | changes
    return TaskDelivery(json.dumps(call).encode(), task_id="t1", number=2)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list of the task's calls; the task raises its first item if it is an exception."""
    seen: list[Any] = []

    def call(self: object, *args: Any, **kwargs: Any) -> None:
        if seen and isinstance(seen[0], Exception):
            raise seen[0]
        seen.append(args)

    monkeypatch.setattr(type(execute_run), "call", call)
    return seen


def test_delivery_calls_task_with_context(calls: list[Any]) -> None:
    with time_machine.travel(NOW, tick=False):
        result = deliver(delivery())

    assert (result, result.done) == (DeliveryResult(200, "done"), True)
    [(context, argument)] = calls
    assert argument == RUN_ID
    told = context.task_result
    assert (told.id, context.attempt, told.status) == ("t1", 3, "RUNNING")
    assert (told.task, told.args, told.kwargs) == (execute_run, [RUN_ID], {})
    assert (told.started_at, told.last_attempted_at) == (NOW, NOW)
    assert (told.enqueued_at, told.finished_at, told.errors) == (None, None, [])
    assert told.backend == "default"


@pytest.mark.parametrize(("status", "done"), [(199, False), (200, True), (299, True), (300, False)])
def test_delivery_is_done_with_any_2xx(status: int, done: bool) -> None:
    assert DeliveryResult(status, "").done is done


@pytest.mark.parametrize(
    ("raised", "result"),
    [
        (TryLater("busy"), DeliveryResult(409, "busy")),
        (EngineBusy("no place"), DeliveryResult(409, "no place")),
        (OperationalError("gone"), DeliveryResult(503, "The database cannot be reached.")),
        (InterfaceError("closed"), DeliveryResult(503, "The database cannot be reached.")),
        (ValueError("a bug"), DeliveryResult(500, "The task failed.", "ValueError: a bug")),
    ],
)
def test_failed_task_is_delivered_again(
    calls: list[Any], raised: Exception, result: DeliveryResult
) -> None:
    calls.append(raised)

    assert deliver(delivery()) == result
    assert not result.done


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
def test_malformed_delivery_is_dropped(body: bytes) -> None:
    outcome = deliver(TaskDelivery(body))

    assert outcome.status == 200
    assert outcome.message.startswith("dropped: Invalid delivery: ")
    assert len(outcome.message) < 350


@pytest.mark.django_db
def test_foreign_name_is_a_dead_letter_at_once() -> None:
    result = deliver(TaskDelivery(delivery(task="x" * 300).body, "t1", number=0))

    letter = DeadLetter.objects.get()
    assert (result.status, letter.attempts) == (200, 1)
    assert letter.error.startswith(f"This version has no task {'x' * 200!r}: another version")


@pytest.mark.django_db
@pytest.mark.usefixtures("_three_attempts")
@pytest.mark.parametrize("path", ["validibot.runs.tasks.of_tomorrow", "validibot.new.tasks.x"])
def test_unknown_task_of_product_is_repeated_before_it_is_a_dead_letter(path: str) -> None:
    body = delivery(task=path).body

    assert deliver(TaskDelivery(body, "t1", number=1)).status == 404
    assert not DeadLetter.objects.exists()
    assert deliver(TaskDelivery(body, "t1", number=2)).status == 200
    assert DeadLetter.objects.get().error.startswith(f"This version has no task {path!r}: another")


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "django.core.management.call_command",
        "validibot.runs.tasks.Run",
        "validibot.runs.tasks.nothing",
        "validibot.nothing.tasks.x",
        "validibot.runs..tasks",
        "a" * 10_000,
    ],
)
def test_find_task_foreign_path_returns_none(path: str) -> None:
    assert find_task(path) is None


def test_find_task_returns_task_of_any_module() -> None:
    for path in (PATH, "validibot.runs.tasks.watch_attempt"):
        found = find_task(path)
        assert found is not None
        assert found.module_path == path


@pytest.fixture
def _three_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue whose tasks may fail three times: `delivery()` is the third delivery."""
    monkeypatch.setattr(default_task_backend, "max_attempts", 3, raising=False)


@pytest.mark.django_db
@pytest.mark.usefixtures("_three_attempts")
def test_last_failed_attempt_becomes_dead_letter(calls: list[Any]) -> None:
    calls.append(ValueError("a\0bug"))

    path = "validibot.runs.tasks.watch_attempt"
    result = deliver(delivery(task=path, kwargs={"number": 1}))

    assert result == DeliveryResult(200, "dead letter: The task failed.")
    letter = DeadLetter.objects.get()
    assert (letter.task, letter.args, letter.kwargs) == (path, [RUN_ID], {"number": 1})
    assert str(letter) == f'{path}("{RUN_ID}", number=1)'
    assert (letter.task_id, letter.attempts, letter.error) == ("t1", 3, "ValueError: abug")


@pytest.mark.django_db
@pytest.mark.usefixtures("_three_attempts")
def test_earlier_failed_attempt_becomes_no_dead_letter(calls: list[Any]) -> None:
    calls.append(ValueError("a bug"))

    assert deliver(TaskDelivery(delivery().body, "t1", number=1)).status == 500
    assert not DeadLetter.objects.exists()


@pytest.mark.django_db
@pytest.mark.usefixtures("_three_attempts")
def test_dead_letter_without_database_keeps_entry(
    calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(DeadLetter.objects, "update_or_create", fail)
    calls.append(OperationalError("gone"))

    assert deliver(delivery()).status == 503


@pytest.mark.django_db
def test_dead_letter_is_bounded_and_replaced() -> None:
    for attempts in (3, 4):
        add_dead_letter("t1", ("x" * 301, [], {}), attempts=attempts, error="e" * 4001)

    letter = DeadLetter.objects.get()
    assert (len(letter.task), letter.attempts, len(letter.error)) == (300, 4, 4000)


def test_queue_account_is_that_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    assert queue_account() == ""
    monkeypatch.setattr(default_task_backend, "service_account", "tasks@p", raising=False)
    assert queue_account() == "tasks@p"


@pytest.mark.django_db
def test_requeue_runs_task_and_deletes_letter(calls: list[Any]) -> None:
    letter = DeadLetter.objects.create(task_id="t1", task=PATH, args=["42"], attempts=3, error="")

    assert requeue(letter)

    assert [argument for _, argument in calls] == ["42"]
    assert not DeadLetter.objects.exists()


@pytest.mark.django_db
def test_requeue_unknown_task_keeps_letter() -> None:
    letter = DeadLetter.objects.create(task_id="t1", task="validibot.runs.no", attempts=3)

    assert not requeue(letter)
    assert DeadLetter.objects.exists()


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ({"args": ["42"]}, "`run_id` is '42'"),
        ({"args": [42]}, "`run_id` is 42: Input should be a valid string"),
        ({"args": []}, "missing a required argument: 'run_id'"),
        ({"kwargs": {"speed": 1}}, "unexpected keyword argument 'speed'"),
        (
            {"task": "validibot.runs.deletion.delete_workflow", "args": ["x"]},
            "`workflow_id` is 'x'",
        ),
    ],
)
@pytest.mark.django_db
def test_wrong_arguments_are_dead_letter_at_once(
    calls: list[Any], call: dict[str, Any], reason: str
) -> None:
    assert deliver(delivery(**call)).status == 200

    assert not calls
    assert reason in DeadLetter.objects.get().error
