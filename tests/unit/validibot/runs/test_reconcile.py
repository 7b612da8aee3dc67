"""Reconciling: executions without a callback, and runs without a queue entry."""

import datetime as dt

import pytest
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from tests.factories import AttemptFactory, StepFactory, started_run
from tests.unit.validibot.runs.scripted import ScriptedProvider, callback_of, store_output
from validibot.runs import callback
from validibot.runs.backends.base import LaunchRequest, Phase
from validibot.runs.execute import execute
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Attempt, Finding, Run, RunEvent
from validibot.runs.reconcile import look, on_execution_end
from validibot.runs.sweep import run_sweep


@pytest.fixture
def request_(provider: ScriptedProvider, container_run: Run) -> LaunchRequest:
    execute(container_run.pk)
    return provider.requests[0]


def ago(minutes: float) -> dt.datetime:
    return timezone.now() - dt.timedelta(minutes=minutes)


def test_running_execution_is_left_alone(request_: LaunchRequest) -> None:
    assert look(request_.attempt_id)


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELED])
def test_output_of_ended_execution_is_applied_whatever_its_exit(
    provider: ScriptedProvider, request_: LaunchRequest, container_run: Run, phase: Phase
) -> None:
    store_output(request_)
    provider.phase = phase

    assert not look(request_.attempt_id)

    container_run.refresh_from_db()
    assert container_run.result == "PASS"


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED])
def test_missing_output_is_error_with_provider_message(
    provider: ScriptedProvider, request_: LaunchRequest, container_run: Run, phase: Phase
) -> None:
    provider.phase = phase
    provider.message = "The configured memory limit was reached."

    assert not look(request_.attempt_id)

    container_run.refresh_from_db()
    assert container_run.result == "ERROR"
    assert container_run.error == (
        "The validator stored no output. The configured memory limit was reached."
    )


def test_callback_after_found_output_is_ignored_as_late(
    provider: ScriptedProvider, request_: LaunchRequest, container_run: Run
) -> None:
    store_output(request_, status="failed_validation")
    message = callback_of(request_)
    provider.phase = Phase.FAILED
    look(request_.attempt_id)

    reply = callback.process(message)

    assert (reply.status, reply.body["late_callback_ignored"]) == (200, True)
    assert Finding.objects.count() == 1


def test_reported_end_applies_output(
    provider: ScriptedProvider, request_: LaunchRequest, container_run: Run
) -> None:
    store_output(request_)

    on_execution_end(request_.attempt_id, provider.state)

    container_run.refresh_from_db()
    assert container_run.result == "PASS"


def test_overdue_execution_is_cancelled(
    provider: ScriptedProvider,
    request_: LaunchRequest,
    container_run: Run,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    Attempt.objects.update(timeout_at=ago(minutes=1))

    with django_capture_on_commit_callbacks(execute=True):
        assert not look(request_.attempt_id)

    container_run.refresh_from_db()
    assert (container_run.result, Attempt.objects.get().state) == ("TIMED_OUT", "TIMED_OUT")
    assert provider.cancelled == ["execution-1"]


def test_output_of_overdue_attempt_is_applied(request_: LaunchRequest, container_run: Run) -> None:
    store_output(request_)
    Attempt.objects.update(timeout_at=ago(minutes=1))

    look(request_.attempt_id)

    container_run.refresh_from_db()
    assert container_run.result == "PASS"


def test_unavailable_provider_delays_timeout(
    provider: ScriptedProvider, request_: LaunchRequest, container_run: Run
) -> None:
    provider.unavailable = True
    Attempt.objects.update(timeout_at=ago(minutes=1))
    assert look(request_.attempt_id)

    Attempt.objects.update(timeout_at=ago(minutes=6))
    assert not look(request_.attempt_id)

    container_run.refresh_from_db()
    assert container_run.result == "TIMED_OUT"


@pytest.mark.django_db
def test_sweep_enqueues_run_without_queue_entry(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    run = started_run(step=StepFactory.create())
    Run.objects.update(enqueued_at=ago(minutes=2))

    with django_capture_on_commit_callbacks(execute=True):
        assert run_sweep()["enqueued"] == 1

    run.refresh_from_db()
    assert run.result == "PASS"
    assert run_sweep()["enqueued"] == 0


@pytest.mark.django_db
def test_sweep_leaves_run_that_was_just_enqueued() -> None:
    started_run(step=StepFactory.create())

    assert run_sweep()["enqueued"] == 0


@pytest.mark.django_db
def test_sweep_enqueues_run_whose_lease_expired(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    run = started_run(step=StepFactory.create())
    Run.objects.update(
        status="RUNNING", lease_expires_at=ago(minutes=1), enqueued_at=ago(minutes=2)
    )

    with django_capture_on_commit_callbacks(execute=True):
        run_sweep()

    run.refresh_from_db()
    assert run.result == "PASS"


@pytest.mark.django_db
def test_sweep_enqueues_run_whose_continuation_was_lost(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    run = started_run(step=StepFactory.create())
    Run.objects.update(status="RUNNING", enqueued_at=ago(minutes=2))

    with django_capture_on_commit_callbacks(execute=True):
        run_sweep()

    run.refresh_from_db()
    assert run.result == "PASS"


def test_sweep_leaves_run_that_waits_for_its_validator(
    request_: LaunchRequest, container_run: Run
) -> None:
    Run.objects.update(enqueued_at=ago(minutes=2))

    assert run_sweep() == {
        "enqueued": 0,
        "looked_at": 0,
        "cancelled": 0,
        "messages": 0,
        "scheduled": 0,
        "probes": 0,
        "images": 0,
        "exports": 0,
    }


def test_sweep_looks_at_old_attempts(
    provider: ScriptedProvider, request_: LaunchRequest, container_run: Run
) -> None:
    store_output(request_)
    provider.phase = Phase.FAILED
    Attempt.objects.update(created_at=ago(minutes=2))

    assert run_sweep()["looked_at"] == 1

    container_run.refresh_from_db()
    assert container_run.result == "PASS"


def test_failing_look_does_not_stop_the_sweep(
    provider: ScriptedProvider, request_: LaunchRequest, container_run: Run
) -> None:
    lost = AttemptFactory.create(state="RUNNING", backend="gone", execution="x")
    Attempt.objects.update(created_at=ago(2))
    store_output(request_)
    provider.phase = Phase.SUCCEEDED

    assert run_sweep()["looked_at"] == 2

    container_run.refresh_from_db()
    lost.refresh_from_db()
    assert (container_run.result, lost.state) == ("PASS", "RUNNING")


def test_cancel_of_run_cancels_its_execution(
    provider: ScriptedProvider,
    request_: LaunchRequest,
    container_run: Run,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert cancel_run(container_run.pk, actor="ada@example.org")

    container_run.refresh_from_db()
    assert (container_run.result, container_run.steps.get().status) == ("CANCELED", "CANCELED")
    assert provider.cancelled == ["execution-1"]
    assert RunEvent.objects.latest("pk").actor == "ada@example.org"


@pytest.mark.django_db
def test_pending_run_can_be_cancelled() -> None:
    run = started_run(step=StepFactory.create())

    assert cancel_run(run.pk, actor="ada")

    assert not execute(run.pk)
    run.refresh_from_db()
    assert run.result == "CANCELED"


@pytest.mark.django_db
def test_ended_run_cannot_be_cancelled() -> None:
    run = started_run(step=StepFactory.create())
    execute(run.pk)

    assert not cancel_run(run.pk, actor="ada")

    run.refresh_from_db()
    assert run.result == "PASS"
