"""Why a run is not done: its queue, its worker or its validator."""

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from tests.factories import AttemptFactory, RunFactory, StepRunFactory
from validibot.runs.models import Run, RunEvent
from validibot.runs.progress import progress_of

pytestmark = pytest.mark.django_db

AGO = dt.timedelta(minutes=5)


def running(**fields: Any) -> Run:
    now = timezone.now()
    return RunFactory.create(**{"status": "RUNNING", "started_at": now} | fields)


def reason(run: Run) -> str:
    found = progress_of(run)
    assert found
    return found.reason


def test_ended_run_has_no_progress() -> None:
    assert progress_of(RunFactory.create(status="SUCCEEDED", ended_at=timezone.now())) is None


@pytest.mark.parametrize(("waited", "is_long"), [(dt.timedelta(), False), (AGO, True)])
def test_run_in_queue_waits_for_a_worker(waited: dt.timedelta, *, is_long: bool) -> None:
    run = RunFactory.create(status="PENDING", enqueued_at=timezone.now() - waited)

    assert "waits in the queue" in reason(run)
    assert ("The sweep makes a new entry." in reason(run)) is is_long


@pytest.mark.parametrize(("starts", "text"), [(1, "A worker is at step 1."), (3, "number 3")])
def test_run_of_worker_names_its_step(starts: int, text: str) -> None:
    run = running(lease_expires_at=timezone.now() + AGO)
    StepRunFactory.create(run=run, order=1, status="RUNNING", starts=starts)

    assert text in reason(run)


def test_lost_worker_is_replaced_by_another() -> None:
    run = running(lease_expires_at=timezone.now() - AGO)

    assert "has not answered since then" in reason(run)


@pytest.mark.parametrize(
    ("state", "called_back", "text"),
    [
        ("PENDING", False, "is being prepared"),
        ("DISPATCHING", False, "was asked to start"),
        ("UNKNOWN", False, "is not started twice"),
        ("RUNNING", False, "is at work (attempt 1)"),
        ("RUNNING", True, "its output is being read"),
    ],
)
def test_run_at_validator_shows_state_of_its_attempt(
    state: str, text: str, *, called_back: bool
) -> None:
    run = running()
    step_run = StepRunFactory.create(run=run, order=2, status="RUNNING")
    called_back_at = timezone.now() if called_back else None
    AttemptFactory.create(step_run=step_run, state=state, called_back_at=called_back_at)

    found = progress_of(run)

    assert found
    assert (text in found.reason, found.step) == (True, 2)


def test_failed_launch_is_quoted() -> None:
    run = running()
    step_run = StepRunFactory.create(run=run, order=1, status="RUNNING")
    AttemptFactory.create(step_run=step_run, state="PENDING")
    RunEvent.objects.create(run=run, step_run=step_run, kind="launch_failed", message="No quota.")

    assert reason(run).endswith("The last launch failed: No quota.")
