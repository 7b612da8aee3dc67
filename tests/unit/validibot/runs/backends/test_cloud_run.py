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
from validibot.runs.backends.base import (
    ExecutionState,
    Launch,
    LaunchError,
    LaunchRequest,
    Phase,
    StateUnavailable,
)
from validibot.runs.backends.cloud_run import CloudRunBackend
from validibot.runs.backends.cloud_run_state import state_of

exceptions: Any = google_exceptions  # its constructors have no types
IMAGE = "r-docker.pkg.dev/p/job@sha256:2"
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
        self.options: dict[str, Any] = {}

    def run_job(self, request: run_v2.RunJobRequest, **options: Any) -> SimpleNamespace:
        self.request, self.options = request, options
        if self.error:
            raise self.error
        return SimpleNamespace(metadata=named("execution-1", ""))


def launch(monkeypatch: pytest.MonkeyPatch, jobs: Jobs) -> Launch:
    expires_at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    capability = StorageCapability("token", expires_at, "gs://b/runs/1/", "p")
    monkeypatch.setattr(cloud_run, "mint", lambda folder: {"gs://b/runs/1": capability}[folder])
    monkeypatch.setattr(cloud_run, "_connect", {jobs: None}.__getitem__)
    monkeypatch.setattr(cloud_run, "jobs", lambda: jobs)
    backend = CloudRunBackend("default", {"OPTIONS": {"project": "p", "region": "r"}})
    return backend.launch(REQUEST)


def execution(state: Any, message: str = "", **reason: Any) -> run_v2.Execution:
    condition = run_v2.Condition(type_="Completed", state=state, message=message, **reason)
    return run_v2.Execution(name="execution-1", conditions=[condition])


def test_launch_asks_for_job_with_time_limit_and_capability(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs = Jobs()

    assert launch(monkeypatch, jobs) == Launch(execution="execution-1", image_digest="sha256:2")

    [(header, parent)] = jobs.options.pop("metadata")
    assert jobs.options == {"retry": None, "timeout": cloud_run._ANSWER_SECONDS}
    assert header == "traceparent"
    assert REQUEST.run_id.hex in parent
    assert jobs.request.name == "projects/p/locations/r/jobs/job"
    assert jobs.request.overrides.timeout.total_seconds() == 77
    (container,) = jobs.request.overrides.container_overrides
    variables = {variable.name: variable.value for variable in container.env}
    assert REQUEST.run_id.hex in variables.pop("TRACEPARENT")
    assert variables == {
        "VALIDIBOT_INPUT_URI": REQUEST.input_uri,
        "VALIDIBOT_OUTPUT_URI": REQUEST.output_uri,
        "VALIDIBOT_RUN_ID": str(REQUEST.run_id),
        "VALIDIBOT_GCS_CAPABILITY_REQUIRED": "true",
        "VALIDIBOT_GCS_ACCESS_TOKEN": "token",
        "VALIDIBOT_GCS_ACCESS_TOKEN_EXPIRY": "2026-01-01T00:00:00+00:00",
        "VALIDIBOT_GCS_ALLOWED_PREFIX": "gs://b/runs/1/",
        "VALIDIBOT_GCS_PROJECT_ID": "p",
        "VALIDIBOT_GCS_CAPABILITY_REFRESH_URL": "https://worker.example/",
    }


class FakeExecutions:
    """Client that knows some executions and raises what a test wants."""

    def __init__(self, *found: run_v2.Execution, error: Exception | None = None) -> None:
        self.found = found
        self.error = error
        self.calls: list[tuple[str, str]] = []

    def _called(self, method: str, name: str, timeout: float) -> None:
        assert timeout == cloud_run._ANSWER_SECONDS
        self.calls.append((method, name))
        if self.error:
            raise self.error

    def get_execution(self, *, name: str, timeout: float) -> run_v2.Execution:
        self._called("get", name, timeout)
        return self.found[0]

    def list_executions(self, *, parent: str, timeout: float) -> list[run_v2.Execution]:
        self._called("list", parent, timeout)
        return list(self.found)

    def cancel_execution(self, *, name: str, timeout: float) -> None:
        self._called("cancel", name, timeout)


def backend_with(monkeypatch: pytest.MonkeyPatch, executions: FakeExecutions) -> CloudRunBackend:
    def connect(client: object) -> None:
        assert client is executions

    monkeypatch.setattr(cloud_run, "_connect", connect)
    monkeypatch.setattr(cloud_run, "executions", lambda: executions)
    return CloudRunBackend("default", {"OPTIONS": {"project": "p", "region": "r"}})


def named(name: str, input_uri: str) -> run_v2.Execution:
    env = [
        run_v2.EnvVar(name="OTHER", value="gs://b/other"),
        run_v2.EnvVar(name="VALIDIBOT_INPUT_URI", value=input_uri),
    ]
    return run_v2.Execution(name=name, template={"containers": [{"image": IMAGE, "env": env}]})


def test_state_is_that_of_the_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    executions = FakeExecutions(named("execution-1", "gs://b/1"))

    state = backend_with(monkeypatch, executions).state("execution-1")

    assert state == ExecutionState(
        phase=Phase.RUNNING, execution="execution-1", image_digest="sha256:2"
    )
    assert executions.calls == [("get", "execution-1")]


def test_execution_is_found_by_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    executions = FakeExecutions(named("execution-1", "gs://b/1"), named("execution-2", "gs://b/2"))
    backend = backend_with(monkeypatch, executions)

    assert backend.find(job="job", input_uri="gs://b/2").execution == "execution-2"
    for uri in ("gs://b/3", "gs://b/other"):
        assert backend.find(job="job", input_uri=uri) == ExecutionState(phase=Phase.ABSENT)
    assert executions.calls[0] == ("list", "projects/p/locations/r/jobs/job")
    monkeypatch.setattr(cloud_run, "_SEARCHED_EXECUTIONS", 1)
    assert backend.find(job="job", input_uri="gs://b/2").phase is Phase.ABSENT


def test_deleted_execution_counts_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = backend_with(monkeypatch, FakeExecutions(error=exceptions.NotFound("deleted")))

    assert backend.state("execution-1") == ExecutionState(
        phase=Phase.FAILED, execution="execution-1", message="deleted"
    )


@pytest.mark.parametrize(
    ("error", "cancelled"),
    [
        (None, True),
        (exceptions.FailedPrecondition("it has ended"), False),
        (exceptions.BadRequest("it has ended"), False),
        (exceptions.NotFound("deleted"), False),
    ],
)
def test_cancel_tells_whether_execution_went_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, cancelled: bool
) -> None:
    executions = FakeExecutions(error=error)

    assert backend_with(monkeypatch, executions).cancel("execution-1") is cancelled
    assert executions.calls == [("cancel", "execution-1")]


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("state", {"execution": "execution-1"}),
        ("find", {"job": "job", "input_uri": "gs://b/1"}),
        ("cancel", {"execution": "execution-1"}),
    ],
)
def test_outage_of_cloud_run_makes_state_unavailable(
    monkeypatch: pytest.MonkeyPatch, call: str, arguments: dict[str, str]
) -> None:
    backend = backend_with(monkeypatch, FakeExecutions(error=exceptions.ServiceUnavailable("away")))

    with pytest.raises(StateUnavailable, match=r"/job: .*away|execution-1: .*away"):
        getattr(backend, call)(**arguments)


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

    assert str(raised.value) == "projects/p/locations/r/jobs/job: no token"
    assert raised.value.not_accepted


def test_missing_capability_account_is_an_error(settings: Settings) -> None:
    backend = CloudRunBackend("default", {"OPTIONS": {"project": "p", "region": "r"}})
    settings.CAPABILITY_ACCOUNT = ""

    (fault,) = backend.check()

    assert fault.id == "validibot.runs.E003"
    assert "storage roles only" in str(fault.hint)
    settings.CAPABILITY_ACCOUNT = "capability@p.iam.gserviceaccount.com"
    assert backend.check() == []


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
    assert state_of(found).phase is phase


def test_memory_limit_message_means_out_of_memory() -> None:
    message = "Task a-task0 failed with exit code: 0 and message: The configured memory limit was reached."

    state = state_of(execution(STATES.CONDITION_FAILED, message))

    assert (state.phase, state.out_of_memory, state.message) == (Phase.FAILED, True, message)
