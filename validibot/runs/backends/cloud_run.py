"""Validators as Cloud Run Jobs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice

from django.core.checks import CheckMessage, Error
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud import run_v2

from validibot.core.storage import StorageError
from validibot.core.storage.capability import StorageCapability, mint
from validibot.runs.backends.base import (
    ExecutionBackend,
    ExecutionState,
    Launch,
    LaunchError,
    LaunchRequest,
    Phase,
    StateUnavailable,
)

INPUT_URI = "VALIDIBOT_INPUT_URI"
OUTPUT_URI = "VALIDIBOT_OUTPUT_URI"
RUN_ID = "VALIDIBOT_RUN_ID"
_TIMEOUT_SECONDS = 20.0
# Executions are listed newest first; the one that is looked for began a moment ago.
_LOOK_BACK = 200
# What the provider has decided; everything else may have been accepted before it failed.
_REFUSALS = (
    exceptions.BadRequest,
    exceptions.Unauthorized,
    exceptions.Forbidden,
    exceptions.NotFound,
    exceptions.MethodNotImplemented,
)
_UNREACHABLE = (exceptions.GoogleAPICallError, exceptions.RetryError, GoogleAuthError)


@cache
def jobs() -> run_v2.JobsClient:
    return run_v2.JobsClient()


@cache
def executions() -> run_v2.ExecutionsClient:
    return run_v2.ExecutionsClient()


class CloudRunBackend(ExecutionBackend):
    """OPTIONS: `project` and `region` of the jobs.

    A job's account has no right to any file: each execution gets one to its attempt's folder.
    """

    confines = True

    def launch(self, request: LaunchRequest) -> Launch:
        name = f"{self._parent}/jobs/{request.job}"
        try:
            capability = mint(request.input_uri.rpartition("/")[0])
        except StorageError as error:
            raise LaunchError(str(error)) from error
        try:
            operation = jobs().run_job(
                run_v2.RunJobRequest(name=name, overrides=_overrides(request, capability)),
                timeout=_TIMEOUT_SECONDS,
            )
        except _REFUSALS as error:
            raise LaunchError(f"{name}: {error.message}", permanent=True) from error
        except _UNREACHABLE as error:
            raise LaunchError(f"{name}: {error}") from error
        # https://cloud.google.com/run/docs/reference/rpc: the operation's metadata is the Execution.
        execution = operation.metadata
        return Launch(execution=execution.name, image_digest=_digest(execution))

    def state(self, execution: str) -> ExecutionState:
        with _asking(execution):
            try:
                found = executions().get_execution(name=execution, timeout=_TIMEOUT_SECONDS)
            except exceptions.NotFound as error:
                return ExecutionState(
                    phase=Phase.FAILED, execution=execution, message=error.message
                )
        return _state(found)

    def find(self, *, job: str, input_uri: str) -> ExecutionState:
        parent = f"{self._parent}/jobs/{job}"
        with _asking(parent):
            listed = executions().list_executions(parent=parent, timeout=_TIMEOUT_SECONDS)
            for execution in islice(listed, _LOOK_BACK):
                if input_uri in _values(execution, INPUT_URI):
                    return _state(execution)
        return ExecutionState(phase=Phase.ABSENT)

    def cancel(self, execution: str) -> bool:
        with _asking(execution):
            try:
                executions().cancel_execution(name=execution, timeout=_TIMEOUT_SECONDS)
            except (exceptions.FailedPrecondition, exceptions.BadRequest, exceptions.NotFound):
                return False  # it has ended
        return True

    def check(self) -> Sequence[CheckMessage]:
        missing = [name for name in ("project", "region") if not self.options.get(name)]
        where = f"EXECUTION_BACKENDS[{self.alias!r}]"
        return [
            Error(f"{where}: OPTIONS needs {name!r}.", id="validibot.runs.E003") for name in missing
        ]

    @property
    def _parent(self) -> str:
        return f"projects/{self.options['project']}/locations/{self.options['region']}"


def _overrides(
    request: LaunchRequest, capability: StorageCapability
) -> run_v2.RunJobRequest.Overrides:
    environment = {
        INPUT_URI: request.input_uri,
        OUTPUT_URI: request.output_uri,
        RUN_ID: str(request.run_id),
        "VALIDIBOT_GCS_CAPABILITY_REQUIRED": "true",
        "VALIDIBOT_GCS_ACCESS_TOKEN": capability.token,
        "VALIDIBOT_GCS_ACCESS_TOKEN_EXPIRY": capability.expires_at.isoformat(),
        "VALIDIBOT_GCS_ALLOWED_PREFIX": capability.prefix,
        "VALIDIBOT_GCS_PROJECT_ID": capability.project,
        "VALIDIBOT_GCS_CAPABILITY_REFRESH_URL": request.capability_url,
    }
    container = run_v2.RunJobRequest.Overrides.ContainerOverride(
        env=[run_v2.EnvVar(name=name, value=value) for name, value in environment.items()]
    )
    return run_v2.RunJobRequest.Overrides(container_overrides=[container])


def _digest(execution: run_v2.Execution) -> str:
    """Return what pins the execution's image, where its reference says."""
    images = [container.image for container in execution.template.containers]
    return next((image.partition("@")[2] for image in images if "@" in image), "")


def _values(execution: run_v2.Execution, name: str) -> set[str]:
    variables = (
        variable for container in execution.template.containers for variable in container.env
    )
    return {variable.value for variable in variables if variable.name == name}


def _state(execution: run_v2.Execution) -> ExecutionState:
    completed = next((c for c in execution.conditions if c.type_ == "Completed"), None)
    condition = completed or run_v2.Condition()
    cancelled = run_v2.Condition.ExecutionReason.CANCELLED
    phase = Phase.RUNNING
    if condition.state == run_v2.Condition.State.CONDITION_SUCCEEDED:
        phase = Phase.SUCCEEDED
    elif condition.state == run_v2.Condition.State.CONDITION_FAILED:
        phase = Phase.CANCELED if condition.execution_reason == cancelled else Phase.FAILED
    return ExecutionState(
        phase=phase,
        execution=execution.name,
        image_digest=_digest(execution),
        message=condition.message,
    )


@contextmanager
def _asking(name: str) -> Iterator[None]:
    try:
        yield
    except _UNREACHABLE as error:
        raise StateUnavailable(f"{name}: {error}") from error
