"""The rows that a run leaves: states, times, errors and the whole timeline of each way to end."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from tests.factories import StepFactory, ValidatorFactory, started_run
from tests.unit.validibot.runs.scripted import ScriptedProvider, callback_of, store_output
from validibot.runs import callback
from validibot.runs.backends.base import LaunchError, Phase
from validibot.runs.execute import execute
from validibot.runs.lifecycle import cancel_run, close_step, end_run
from validibot.runs.models import Attempt, CallbackReceipt, Run, RunEvent, StepRun
from validibot.runs.reconcile import look, time_out
from validibot.runs.states import ErrorCategory, RunStatus
from validibot.runs.verdict import judged

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def timeline(run: Run) -> list[tuple[str, str, str, dict[str, Any]]]:
    fields = ("kind", "actor", "message", "data")
    rows = RunEvent.objects.filter(run=run).order_by("pk").values_list(*fields)
    return [(kind, actor, message, data) for kind, actor, message, data in rows]


def of_attempt(**more: Any) -> dict[str, Any]:
    return {"attempt": str(Attempt.objects.get().pk), **more}


def launched() -> list[tuple[str, str, str, dict[str, Any]]]:
    """Return the timeline of a container step that runs."""
    return [
        ("delivered", "queue", "", {"task": "task-1"}),
        ("step_started", "worker", "", {}),
        ("launched", "worker", "", of_attempt()),
        ("running", "worker", "", of_attempt(execution="execution-1")),
    ]


def row(run: Run) -> tuple[Any, ...]:
    run.refresh_from_db()
    assert (run.lease_token, run.lease_expires_at) == (None, None)
    return run.status, run.error_category, run.error, run.ended_at


def attempt_row() -> tuple[Any, ...]:
    attempt = Attempt.objects.get()
    return attempt.state, attempt.error, attempt.ended_at, attempt.cancel_requested_at


def steps(run: Run) -> list[tuple[Any, ...]]:
    return list(run.steps.order_by("order").values_list("status", "error", "ended_at"))


def test_passed_document_leaves_whole_timeline() -> None:
    first = StepFactory.create()
    StepFactory.create(workflow=first.workflow, order=2, validator=first.validator)
    run = started_run(step=first)

    assert execute(run.pk, task="task-1")

    assert row(run) == ("SUCCEEDED", "", "", NOW)
    assert steps(run) == [("PASSED", "", NOW)] * 2
    assert timeline(run) == [
        ("delivered", "queue", "", {"task": "task-1"}),
        ("step_started", "worker", "", {}),
        ("step_passed", "worker", "", {"findings": 0}),
        ("step_started", "worker", "", {}),
        ("step_passed", "worker", "", {"findings": 0}),
        ("passed", "worker", "", {}),
    ]
    of_steps = RunEvent.objects.filter(step_run__isnull=False).order_by("pk")
    assert list(of_steps.values_list("step_run__order", flat=True)) == [1, 1, 2, 2]


def test_failed_document_skips_later_steps() -> None:
    first = StepFactory.create()
    StepFactory.create(workflow=first.workflow, order=2, validator=first.validator)
    run = started_run(step=first, inline=b"{}")

    assert execute(run.pk)

    assert row(run) == ("FAILED", "VALIDATION_FAILED", "", NOW)
    assert steps(run) == [("FAILED", "", NOW), ("SKIPPED", "", NOW)]
    assert timeline(run)[-2:] == [
        ("step_failed", "worker", "", {"findings": 1}),
        ("failed", "worker", "", {}),
    ]


def test_callback_leaves_whole_timeline(provider: ScriptedProvider, container_run: Run) -> None:
    execute(container_run.pk, task="task-1")
    store_output(provider.requests[0])

    reply = callback.process(callback_of(provider.requests[0]))

    receipt = CallbackReceipt.objects.get()
    attempt = Attempt.objects.get()
    assert reply.body == {"message": "Processed."}
    assert row(container_run) == ("SUCCEEDED", "", "", NOW)
    assert attempt_row() == ("COMPLETED", "", NOW, None)
    assert (attempt.launched_at, attempt.called_back_at) == (NOW, NOW)
    assert (receipt.run_id, receipt.attempt_id) == (container_run.pk, attempt.pk)
    assert (receipt.result_uri, receipt.status) == (attempt.output_uri, "COMPLETED")
    assert (receipt.claim_token, receipt.claimed_at, receipt.error) == (None, NOW, "")
    assert timeline(container_run) == [
        *launched(),
        ("called_back", "validator", "", of_attempt(receipt=receipt.pk)),
        ("step_passed", "validator", "", {"findings": 0}),
        ("passed", "validator", "", {}),
    ]


def test_missing_output_is_told_with_the_reason(
    provider: ScriptedProvider, container_run: Run
) -> None:
    execute(container_run.pk, task="task-1")
    provider.phase, provider.message = Phase.FAILED, "Exit code 3."

    assert not look(provider.requests[0].attempt_id)

    error = "The validator stored no output. Exit code 3."
    assert row(container_run) == ("FAILED", "RUNTIME_ERROR", error, NOW)
    assert attempt_row() == ("FAILED", error, NOW, None)
    assert steps(container_run) == [("FAILED", error, NOW)]
    assert timeline(container_run) == [
        *launched(),
        ("step_failed", "reconcile", error, {"findings": 0}),
        ("error", "reconcile", error, {}),
    ]


def test_output_without_callback_is_told(provider: ScriptedProvider, container_run: Run) -> None:
    execute(container_run.pk, task="task-1")
    store_output(provider.requests[0])
    provider.phase = Phase.SUCCEEDED

    assert not look(provider.requests[0].attempt_id)

    assert timeline(container_run) == [
        *launched(),
        ("output_found", "reconcile", "", of_attempt()),
        ("step_passed", "reconcile", "", {"findings": 0}),
        ("passed", "reconcile", "", {}),
    ]


def test_refused_output_is_told_to_validator_and_receipt(
    provider: ScriptedProvider, container_run: Run
) -> None:
    execute(container_run.pk, task="task-1")
    store_output(provider.requests[0], b"{}")

    reply = callback.process(callback_of(provider.requests[0]))

    receipt = CallbackReceipt.objects.get()
    assert reply.status == 400
    assert reply.body["message"].startswith("The validator's output is malformed: ")
    assert (receipt.status, receipt.error) == ("REJECTED", reply.body["message"])
    assert row(container_run) == ("FAILED", "RUNTIME_ERROR", receipt.error, NOW)
    assert attempt_row() == ("FAILED", receipt.error, NOW, None)


def test_overdue_execution_is_cancelled_and_told(
    provider: ScriptedProvider, container_run: Run
) -> None:
    execute(container_run.pk, task="task-1")

    time_out(provider.requests[0].attempt_id)

    seconds = container_run.steps.get().step.validator.timeout_seconds
    error = f"The validator did not answer within its {seconds} seconds."
    assert row(container_run) == ("TIMED_OUT", "TIMEOUT", error, NOW)
    assert attempt_row() == ("TIMED_OUT", error, NOW, NOW)
    assert timeline(container_run)[-2:] == [
        ("step_failed", "reconcile", error, {"findings": 0}),
        ("timed_out", "reconcile", error, {}),
    ]


def test_unanswered_launch_is_told_and_found_later(
    provider: ScriptedProvider, container_run: Run
) -> None:
    provider.refusal = LaunchError("no answer")
    execute(container_run.pk, task="task-1")
    assert attempt_row() == ("UNKNOWN", "no answer", None, None)

    provider.found = Phase.RUNNING
    assert look(provider.requests[0].attempt_id)

    attempt = Attempt.objects.get()
    assert (attempt.state, attempt.execution) == ("RUNNING", "execution-1")
    assert (attempt.launched_at, attempt.image_digest) == (NOW, "sha256:1")
    assert timeline(container_run) == [
        *launched()[:3],
        ("launch_unanswered", "worker", "no answer", of_attempt()),
        ("running", "reconcile", "", of_attempt(execution="execution-1")),
    ]


def test_absent_execution_is_launched_again(
    provider: ScriptedProvider, container_run: Run, clock: time_machine.Traveller
) -> None:
    provider.refusal = LaunchError("no answer")
    execute(container_run.pk, task="task-1")
    assert look(provider.requests[0].attempt_id)
    clock.shift(dt.timedelta(minutes=10))

    assert not look(provider.requests[0].attempt_id)

    container_run.refresh_from_db()
    assert attempt_row() == ("FAILED", "no answer", timezone.now(), None)
    assert timeline(container_run)[-1] == ("launch_failed", "reconcile", "", of_attempt())
    assert (container_run.status, container_run.checked_at) == ("RUNNING", None)
    assert container_run.enqueued_at == timezone.now()


def test_cancelled_run_marks_its_execution(provider: ScriptedProvider, container_run: Run) -> None:
    execute(container_run.pk, task="task-1")

    assert cancel_run(container_run.pk, actor="ada@example.org")
    assert not cancel_run(container_run.pk, actor="ada@example.org")

    assert row(container_run) == ("CANCELED", "", "", NOW)
    assert attempt_row() == ("CANCELED", "", NOW, NOW)
    assert steps(container_run) == [("CANCELED", "", NOW)]
    assert timeline(container_run) == [
        *launched(),
        ("canceled", "ada@example.org", "", {}),
    ]


@pytest.mark.parametrize("state", ["PENDING", "DISPATCHING"])
def test_run_ended_by_error_fails_its_attempt(
    provider: ScriptedProvider, container_run: Run, state: str
) -> None:
    execute(container_run.pk)
    Attempt.objects.update(state=state)
    error = "The provider is gone."

    held = Run.objects.filter(pk=container_run.pk)
    category = ErrorCategory.SYSTEM_ERROR
    assert end_run(
        held, container_run.pk, RunStatus.FAILED, actor="admin", category=category, error=error
    )

    marked = None if state == "PENDING" else NOW
    assert row(container_run) == ("FAILED", "SYSTEM_ERROR", error, NOW)
    assert attempt_row() == ("FAILED", error, NOW, marked)
    assert steps(container_run) == [("FAILED", error, NOW)]
    assert timeline(container_run)[-1] == ("error", "admin", error, {})


def test_run_that_timed_out_times_out_its_attempt(
    provider: ScriptedProvider, container_run: Run
) -> None:
    execute(container_run.pk)

    held = Run.objects.filter(pk=container_run.pk)
    assert end_run(held, container_run.pk, RunStatus.TIMED_OUT, actor="worker")

    assert attempt_row() == ("TIMED_OUT", "", NOW, NOW)


def test_closed_step_lets_the_run_wait_from_now() -> None:
    first = StepFactory.create(validator=ValidatorFactory.create(container=True))
    StepFactory.create(workflow=first.workflow, order=2)
    run = started_run(step=first)
    Run.objects.update(status="RUNNING", checked_at=NOW, enqueued_at=NOW - dt.timedelta(hours=1))
    StepRun.objects.filter(order=1).update(status="RUNNING")
    step_run = run.steps.get(order=1)

    ended = close_step(
        Run.objects.filter(pk=run.pk), step_run, judged([]), last=False, actor="validator"
    )

    assert not ended
    run.refresh_from_db()
    assert (run.status, run.enqueued_at, run.checked_at) == ("RUNNING", NOW, None)
    assert step_run.run.enqueued_at == NOW
    assert (step_run.status, step_run.outputs) == ("PASSED", {})
    assert steps(run) == [("PASSED", "", NOW), ("PENDING", "", None)]
    assert timeline(run) == [("step_passed", "validator", "", {"findings": 0})]
