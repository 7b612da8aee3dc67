"""Cloud Run executions as states, and errors of a launch, without a cloud."""

import datetime as dt
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from google.api_core import exceptions as google_exceptions
from google.auth.exceptions import RefreshError
from google.cloud import run_v2
from pytest_django import Settings

from validibot.core.storage import StorageError
from validibot.core.storage.capability import StorageCapability
from validibot.runs.backends import cloud_run
from validibot.runs.backends.base import LaunchError, LaunchRequest, Phase
from validibot.runs.backends.cloud_run import CloudRunBackend

exceptions: Any = google_exceptions  # its constructors have no types
STATES: Any = run_v2.Condition.State
REQUEST = LaunchRequest(
    run_id=uuid4(),
    attempt_id=uuid4(),
    job="job",
    image="image",
    command=["python"],
    input_uri="gs://b/runs/1/input.json",
    output_uri="gs://b/runs/1/output.json",
    capability_url="https://worker.example/",
    timeout_seconds=77,
    memory_mb=64,
)


class Jobs:
    """Client that keeps the request and raises what a test wants."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.request: Any = None

    def run_job(self, request: run_v2.RunJobRequest, **_: Any) -> SimpleNamespace:
        self.request = request
        if self.error:
            raise self.error
        return SimpleNamespace(metadata=run_v2.Execution(name="execution-1"))


def launch(monkeypatch: pytest.MonkeyPatch, jobs: Jobs) -> None:
    expires_at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    capability = StorageCapability("token", expires_at, "gs://b/runs/1/", "p")
    monkeypatch.setattr(cloud_run, "mint", lambda folder: capability)
    monkeypatch.setattr(cloud_run, "_connect", lambda client: None)
    monkeypatch.setattr(cloud_run, "jobs", lambda: jobs)
    CloudRunBackend("default", {"OPTIONS": {"project": "p", "region": "r"}}).launch(REQUEST)


def execution(state: Any, message: str = "", **reason: Any) -> run_v2.Execution:
    condition = run_v2.Condition(type_="Completed", state=state, message=message, **reason)
    return run_v2.Execution(name="execution-1", conditions=[condition])


def test_launch_overrides_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs()

    launch(monkeypatch, jobs)

    assert jobs.request.overrides.timeout.total_seconds() == 77
    (container,) = jobs.request.overrides.container_overrides
    assert {variable.name: variable.value for variable in container.env}[
        "VALIDIBOT_INPUT_URI"
    ] == REQUEST.input_uri


@pytest.mark.parametrize(
    ("error", "permanent", "not_accepted"),
    [
        (exceptions.NotFound("no job"), True, True),
        (exceptions.PermissionDenied("no"), True, True),
        (exceptions.FailedPrecondition("no"), True, True),
        (exceptions.ResourceExhausted("quota"), False, True),
        (RefreshError("no token"), False, True),  # type: ignore[no-untyped-call]
        (exceptions.ServiceUnavailable("Getting metadata from plugin failed: …"), False, True),
        (exceptions.ServiceUnavailable("Socket closed"), False, False),
        (exceptions.DeadlineExceeded("504"), False, False),
        (exceptions.InternalServerError("500"), False, False),
        (exceptions.RetryError("too long", None), False, False),
    ],
)
def test_launch_error_tells_whether_execution_can_exist(
    monkeypatch: pytest.MonkeyPatch, error: Exception, permanent: bool, not_accepted: bool
) -> None:
    with pytest.raises(LaunchError) as raised:
        launch(monkeypatch, Jobs(error))

    assert (raised.value.permanent, raised.value.not_accepted) == (permanent, not_accepted)


def test_launch_without_capability_is_not_accepted(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    def fail(folder: str) -> None:
        raise StorageError("no token")

    monkeypatch.setattr(cloud_run, "mint", fail)
    backend = CloudRunBackend("default", {"OPTIONS": {"project": "p", "region": "r"}})

    with pytest.raises(LaunchError, match="no token") as raised:
        backend.launch(REQUEST)

    assert raised.value.not_accepted


@pytest.mark.parametrize(
    ("found", "phase"),
    [
        (run_v2.Execution(), Phase.RUNNING),
        (execution(STATES.CONDITION_RECONCILING), Phase.RUNNING),
        (execution(STATES.CONDITION_SUCCEEDED), Phase.SUCCEEDED),
        (execution(STATES.CONDITION_FAILED, "The container exited with an error."), Phase.FAILED),
        (
            execution(
                STATES.CONDITION_FAILED,
                execution_reason=run_v2.Condition.ExecutionReason.CANCELLED,
            ),
            Phase.CANCELED,
        ),
        (
            execution(
                STATES.CONDITION_FAILED,
                "Task a-task0 failed with exit code: 0 and message: The configured timeout was reached.",
            ),
            Phase.TIMED_OUT,
        ),
    ],
)
def test_condition_decides_phase(found: run_v2.Execution, phase: Phase) -> None:
    assert cloud_run._state(found).phase is phase


def test_memory_limit_message_means_out_of_memory() -> None:
    message = "Task a-task0 failed with exit code: 0 and message: The configured memory limit was reached."

    state = cloud_run._state(execution(STATES.CONDITION_FAILED, message))

    assert (state.phase, state.out_of_memory, state.message) == (Phase.FAILED, True, message)
