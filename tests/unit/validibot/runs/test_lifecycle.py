"""The ends of runs: nothing outlives its run, and outages are told apart from failures."""

import datetime as dt
from collections.abc import Callable
from unittest.mock import Mock
from uuid import uuid4

import pytest
from django.db import DataError
from django.utils import timezone
from pytest_django import Settings

from tests.factories import StepFactory, started_run
from tests.unit.validibot.runs.scripted import (
    ScriptedBackend,
    ScriptedProvider,
    callback_of,
    store_output,
)
from validibot.core.storage import StorageError
from validibot.engines import EngineBusy
from validibot.runs import callback, outcome, tasks
from validibot.runs.backends.base import ExecutionState, Launch, LaunchError, LaunchRequest, Phase
from validibot.runs.events import END, listener
from validibot.runs.execute import MAX_STARTS, execute
from validibot.runs.launch import LaunchPostponed
from validibot.runs.lifecycle import StateMoved, cancel_run
from validibot.runs.models import Attempt, CallbackReceipt, Run, RunEvent, StepRun
from validibot.runs.reconcile import SILENCE_GRACE, look, on_execution_end
from validibot.runs.sweep import run_sweep
from validibot.submissions import content

pytestmark = pytest.mark.django_db


def kinds(run: Run) -> list[str]:
    return list(RunEvent.objects.filter(run=run).order_by("pk").values_list("kind", flat=True))


def age(minutes: float) -> None:
    """Let every attempt and its cancellation be that old."""
    then = timezone.now() - dt.timedelta(minutes=minutes)
    Attempt.objects.update(created_at=then)
    Attempt.objects.filter(cancel_requested_at__isnull=False).update(cancel_requested_at=then)


def unavailable(*_: object, **__: object) -> None:
    raise StorageError("storage is away")


def test_unexpected_launch_error_ends_the_attempt(
    provider: ScriptedProvider, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(self: object, request: LaunchRequest) -> Launch:
        raise RuntimeError("a bug")

    monkeypatch.setattr(ScriptedBackend, "launch", crash)
    assert execute(container_run.pk)

    attempt = Attempt.objects.get()
    container_run.refresh_from_db()
    assert (container_run.result, attempt.state) == ("ERROR", "FAILED")
    assert container_run.error == "The validator could not be started. The error was reported."
    assert attempt.ended_at
    assert attempt.cancel_requested_at  # the provider may have accepted before it failed
    age(minutes=2)
    assert run_sweep() == {
        "enqueued": 0,
        "looked_at": 0,
        "cancelled": 1,
        "messages": 0,
        "scheduled": 0,
        "probes": 0,
        "images": 0,
        "exports": 0,
    }
    assert run_sweep()["cancelled"] == 0  # the provider is sure that there is none


def test_running_attempt_of_an_ended_run_is_ended_once(
    provider: ScriptedProvider, container_run: Run
) -> None:
    execute(container_run.pk)
    Run.objects.update(status="FAILED", ended_at=timezone.now())

    assert not look(Attempt.objects.get().pk)
    assert not look(Attempt.objects.get().pk)

    attempt = Attempt.objects.get()
    assert (attempt.state, bool(attempt.cancel_requested_at)) == ("FAILED", True)
    assert not CallbackReceipt.objects.exists()


@pytest.mark.parametrize("error", [StorageError, EngineBusy])
def test_storage_outage_does_not_count_as_deaths(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    run = started_run(step=StepFactory.create())
    with monkeypatch.context() as patched:
        patched.setattr(content, "read", Mock(side_effect=error))
        for _ in range(MAX_STARTS + 3):
            with pytest.raises(error):
                execute(run.pk)

    step_run = StepRun.objects.get()
    run.refresh_from_db()
    assert (step_run.status, step_run.starts, run.lease_token) == ("RUNNING", 0, None)
    assert kinds(run)[:3] == ["delivered", "step_started", "resumed"]
    assert execute(run.pk)
    run.refresh_from_db()
    assert run.result == "PASS"


def test_deaths_before_an_outage_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    run = started_run(step=StepFactory.create())
    StepRun.objects.update(status="RUNNING", starts=MAX_STARTS - 1)
    with monkeypatch.context() as patched:
        patched.setattr(content, "read", unavailable)
        with pytest.raises(StorageError):
            execute(run.pk)

    assert StepRun.objects.get().starts == MAX_STARTS - 1


def test_outage_ends_at_the_deadline(settings: Settings) -> None:
    run = started_run(step=StepFactory.create())
    started = timezone.now() - dt.timedelta(seconds=settings.RUN_DEADLINE_SECONDS + 1)
    Run.objects.update(status="RUNNING", started_at=started)
    StepRun.objects.update(status="RUNNING")

    assert execute(run.pk)

    run.refresh_from_db()
    assert (run.result, run.steps.get().status) == ("TIMED_OUT", "FAILED")
    assert "within 24 hours" in run.error


@pytest.mark.parametrize("not_accepted", [True, False])
def test_launch_that_was_not_accepted_leaves_no_attempt(
    provider: ScriptedProvider, container_run: Run, not_accepted: bool
) -> None:
    provider.refusal = LaunchError("no token", not_accepted=not_accepted)
    if not not_accepted:
        execute(container_run.pk)
        assert Attempt.objects.get().state == "UNKNOWN"
        return
    for _ in range(7):
        with pytest.raises(LaunchPostponed, match="no token"):
            execute(container_run.pk)
    assert not Attempt.objects.exists()

    provider.refusal = None
    execute(container_run.pk)

    assert Attempt.objects.get().state == "RUNNING"


def test_lost_cancellation_is_repeated_until_the_execution_has_ended(
    provider: ScriptedProvider, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(container_run.pk)
    cancel_run(container_run.pk, actor="ada")  # and the queue entry is lost
    assert provider.cancelled == []

    assert run_sweep()["cancelled"] == 1
    assert run_sweep()["cancelled"] == 1
    assert provider.cancelled == ["execution-1", "execution-1"]

    provider.phase = Phase.CANCELED
    assert run_sweep()["cancelled"] == 1
    assert Attempt.objects.get().execution_ended_at
    assert run_sweep()["cancelled"] == 0


def test_unavailable_provider_keeps_the_mark(
    provider: ScriptedProvider, container_run: Run
) -> None:
    execute(container_run.pk)
    cancel_run(container_run.pk, actor="ada")
    provider.unavailable = True

    run_sweep()

    assert Attempt.objects.get().execution_ended_at is None


def test_execution_that_the_provider_forgot_is_cancelled_until_its_limit(
    provider: ScriptedProvider, container_run: Run
) -> None:
    execute(container_run.pk)
    cancel_run(container_run.pk, actor="ada")
    provider.phase = Phase.UNKNOWN

    run_sweep()
    assert provider.cancelled == ["execution-1"]
    assert Attempt.objects.get().execution_ended_at is None

    Attempt.objects.update(timeout_at=timezone.now() - SILENCE_GRACE)
    run_sweep()
    assert provider.cancelled == ["execution-1"]
    assert Attempt.objects.get().execution_ended_at


def test_execution_whose_launch_is_late_is_not_believed_absent(
    provider: ScriptedProvider, container_run: Run
) -> None:
    provider.refusal = LaunchError("no answer")
    execute(container_run.pk)
    cancel_run(container_run.pk, actor="ada")

    run_sweep()
    assert Attempt.objects.get().execution_ended_at is None

    age(minutes=2)
    run_sweep()
    assert Attempt.objects.get().execution_ended_at


def test_reported_end_needs_no_cancellation(provider: ScriptedProvider, container_run: Run) -> None:
    execute(container_run.pk)
    cancel_run(container_run.pk, actor="ada")

    on_execution_end(Attempt.objects.get().pk, ExecutionState(phase=Phase.CANCELED))

    assert run_sweep()["cancelled"] == 0


def test_execution_out_of_time_times_its_run_out(
    provider: ScriptedProvider, container_run: Run
) -> None:
    execute(container_run.pk)

    on_execution_end(Attempt.objects.get().pk, ExecutionState(phase=Phase.TIMED_OUT))

    attempt = Attempt.objects.get()
    container_run.refresh_from_db()
    assert (container_run.result, attempt.state) == ("TIMED_OUT", "TIMED_OUT")
    assert attempt.cancel_requested_at is None


def test_output_found_without_callback_has_no_receipt(
    provider: ScriptedProvider, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(container_run.pk)
    store_output(provider.requests[0])
    provider.phase = Phase.SUCCEEDED
    with monkeypatch.context() as patched:
        patched.setattr(outcome, "read_output", unavailable)
        for _ in range(3):
            with pytest.raises(StorageError):
                look(provider.requests[0].attempt_id)

    assert not look(provider.requests[0].attempt_id)

    assert kinds(container_run)[-3:] == ["output_found", "step_passed", "passed"]
    assert kinds(container_run).count("output_found") == 1
    assert "called_back" not in kinds(container_run)
    assert not CallbackReceipt.objects.exists()
    assert Attempt.objects.get().called_back_at is None


def test_repeated_callback_is_one_event(
    provider: ScriptedProvider, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(container_run.pk)
    store_output(provider.requests[0])
    message = callback_of(provider.requests[0])
    with monkeypatch.context() as patched:
        patched.setattr(outcome, "read_output", unavailable)
        assert [callback.process(message).status for _ in range(3)] == [503, 503, 503]

    assert callback.process(message).status == 200
    assert CallbackReceipt.objects.get().deliveries == 4
    assert kinds(container_run).count("called_back") == 1


def test_run_that_ends_while_its_output_is_refused_answers_late(
    provider: ScriptedProvider, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(container_run.pk)
    store_output(provider.requests[0])

    def refuse(*_: object, **__: object) -> bool:
        raise DataError("value too long") if not moved else StateMoved

    moved: list[bool] = []

    def first_data_then_moved(*args: object, **values: object) -> bool:
        try:
            return refuse(*args, **values)
        finally:
            moved.append(True)

    monkeypatch.setattr(outcome, "close_step", first_data_then_moved)
    reply = callback.process(callback_of(provider.requests[0]))

    assert (reply.status, reply.body["late_callback_ignored"]) == (200, True)
    assert CallbackReceipt.objects.get().status == "COMPLETED"


@pytest.mark.parametrize("started", [True, False])
def test_cancelled_step_is_canceled_only_if_it_had_started(started: bool) -> None:
    first = StepFactory.create()
    StepFactory.create(workflow=first.workflow, order=2, validator=first.validator)
    run = started_run(step=first)
    if started:
        Run.objects.update(status="RUNNING")
        StepRun.objects.filter(order=1).update(status="RUNNING")

    assert cancel_run(run.pk, actor="ada")

    statuses = list(run.steps.order_by("order").values_list("status", flat=True))
    assert statuses == ["CANCELED" if started else "SKIPPED", "SKIPPED"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: tasks.cancel_execution.call(str(uuid4())),
        lambda: tasks.watch_attempt.call(str(uuid4())),
        lambda: tasks.notify_about_run.call(str(uuid4())),
        lambda: execute(uuid4()),
        lambda: on_execution_end(uuid4(), ExecutionState(phase=Phase.FAILED)),
    ],
    ids=["cancel", "watch", "mail", "execute", "end"],
)
def test_task_for_a_deleted_row_is_done(call: Callable[[], object]) -> None:
    assert not call()


def test_malformed_notification_is_ignored() -> None:
    woken: list[bool] = []
    run_id = uuid4()
    with listener.watching(run_id, lambda: woken.append(True)):
        listener.handle("no id")
        listener.handle("")
        listener.handle(f"{run_id}{END}")

    assert woken[-1:] == [True]
