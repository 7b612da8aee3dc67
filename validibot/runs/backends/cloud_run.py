"""Execution backend for Cloud Run Jobs.

Each validator is a job; an attempt is one execution of it, with overrides: the variables that name
its files, and the time limit of the manifest, so that no other limit decides. A job's account has no
access to any file. The execution gets a capability, a token for its attempt's folder only.

A custom validator with secrets runs as the account of its organisation, which may read exactly these;
Cloud Run reads them from Secret Manager when an execution starts.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from typing import Annotated, Any, ClassVar
from uuid import uuid4

import grpc
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.utils.translation import gettext as _
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud import run_v2
from google.protobuf.duration_pb2 import Duration
from pydantic import Field

from validators.sdk.manifest import NetworkReach
from validibot.core.storage import StorageError
from validibot.core.storage.capability import CapabilityRefused, StorageCapability, mint
from validibot.core.trace import HEADER, traceparent
from validibot.runs.backends.base import (
    BackendOptions,
    ExecutionBackend,
    ExecutionState,
    ImageNeeds,
    JobDefinition,
    JobRefused,
    Launch,
    LaunchError,
    LaunchRequest,
    Phase,
    StateUnavailable,
)
from validibot.runs.backends.cloud_run_state import digest_of, state_of, values_of
from validibot.runs.backends.confined import INPUT_URI, confined_environment
from validibot.workflows.validator_secrets import SecretSource

# For the connection and its TLS, then for the answer to a call.
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 20.0
# Until a new job is ready: Cloud Run looks for its image.
_PREPARE_SECONDS = 120.0
# Executions are listed newest first; the one that is searched for started a moment ago.
_SEARCHED_EXECUTIONS = 200
# Refusals that the provider would repeat. After any other error the call may have been accepted.
_REFUSALS = (
    exceptions.BadRequest,
    exceptions.Unauthorized,
    exceptions.Forbidden,
    exceptions.NotFound,
    exceptions.MethodNotImplemented,
)
_ERRORS = (exceptions.GoogleAPICallError, exceptions.RetryError, GoogleAuthError)
# gRPC's text for credentials that give no token: the call was not sent.
_NO_TOKEN = "Getting metadata from plugin failed"  # noqa: S105 - no secret


@cache
def jobs() -> run_v2.JobsClient:
    """Return the client for jobs, one per process."""
    return run_v2.JobsClient()


@cache
def executions() -> run_v2.ExecutionsClient:
    """Return the client for executions, one per process."""
    return run_v2.ExecutionsClient()


class CloudRunOptions(BackendOptions):
    """OPTIONS of the Cloud Run backend: project and region of the jobs.

    `job_prefix` precedes the names that the manifests give them. `custom_account` is the account of
    custom validators; those with secrets have that of their organisation, which `secret_accounts` names
    by its number. `custom_subnetwork` gets all traffic of those that must not reach the internet.
    """

    project: Annotated[str, Field(min_length=1)]
    region: Annotated[str, Field(min_length=1)]
    job_prefix: str = ""
    custom_account: str = ""
    custom_subnetwork: str = ""
    secret_accounts: dict[str, str] = {}


class CloudRunBackend(ExecutionBackend):
    """Execution backend for Cloud Run Jobs."""

    options_class: ClassVar[type[BackendOptions]] = CloudRunOptions
    options: CloudRunOptions
    confines = True
    runs_images = True
    secret_source = SecretSource.SECRET_MANAGER

    def launch(self, request: LaunchRequest) -> Launch:
        name = self._job(request.job)
        try:
            capability = mint(request.input_uri.rpartition("/")[0])
            _connect(jobs())
        except CapabilityRefused as error:
            raise LaunchError(f"{name}: {error}", permanent=True) from error
        except (StorageError, GoogleAuthError, StateUnavailable) as error:
            raise LaunchError(f"{name}: {error}", not_accepted=True) from error
        try:
            operation = jobs().run_job(
                run_v2.RunJobRequest(name=name, overrides=_overrides(request, capability)),
                retry=None,
                timeout=_ANSWER_SECONDS,
                metadata=((HEADER, traceparent(request.run_id)),),
            )
        except _REFUSALS as error:
            raise LaunchError(f"{name}: {error.message}", permanent=True) from error
        except _ERRORS as error:
            raise LaunchError(f"{name}: {error}", not_accepted=_was_not_sent(error)) from error
        # https://cloud.google.com/run/docs/reference/rpc: the operation's metadata is the Execution.
        execution = operation.metadata
        return Launch(
            execution=execution.name,
            image_digest=digest_of(execution),
            secrets=self._secrets_of(execution),
        )

    def state(self, execution: str) -> ExecutionState:
        with _translated(execution):
            _connect(executions())
            try:
                found = executions().get_execution(name=execution, timeout=_ANSWER_SECONDS)
            except exceptions.NotFound as error:
                return ExecutionState(
                    phase=Phase.FAILED, execution=execution, message=error.message
                )
        return state_of(found)

    def find(self, *, job: str, input_uri: str) -> ExecutionState:
        parent = self._job(job)
        with _translated(parent):
            _connect(executions())
            listed = executions().list_executions(parent=parent, timeout=_ANSWER_SECONDS)
            for execution in islice(listed, _SEARCHED_EXECUTIONS):
                if input_uri in values_of(execution, INPUT_URI):
                    return state_of(execution)
        return ExecutionState(phase=Phase.ABSENT)

    def cancel(self, execution: str) -> bool:
        with _translated(execution):
            _connect(executions())
            try:
                executions().cancel_execution(name=execution, timeout=_ANSWER_SECONDS)
            except (exceptions.FailedPrecondition, exceptions.BadRequest, exceptions.NotFound):
                return False  # it has ended
        return True

    def refusals(self, needs: ImageNeeds) -> Iterator[str]:
        yield from super().refusals(needs)
        if needs.network is NetworkReach.NONE:
            yield _(
                "`network` is 'none', but on Cloud Run a validator gets its files over the network. Choose"
                " 'platform' or 'internet'."
            )
        if needs.network is NetworkReach.PLATFORM and not self.options.custom_subnetwork:
            yield _(
                "`network` is 'platform', but this site has no subnetwork that keeps validators from the"
                " internet. Choose 'internet', or ask its operator to set CUSTOM_VALIDATOR_SUBNETWORK."
            )
        if needs.secrets and needs.organisation not in self.options.secret_accounts:
            text = _(
                "`secrets`: this site has no account that reads secrets for organisation %(number)s. Ask"
                " its operator to add it to CUSTOM_VALIDATOR_SECRET_ACCOUNTS."
            )
            yield text % {"number": needs.organisation}

    def prepare(self, job: JobDefinition) -> None:
        name = self._job(job.name)
        parent, _sep, job_id = name.rpartition("/jobs/")
        wanted = self._job_of(job)
        try:
            with _translated(name):
                _connect(jobs())
                try:
                    made = jobs().create_job(
                        parent=parent, job=wanted, job_id=job_id, timeout=_ANSWER_SECONDS
                    )
                except exceptions.AlreadyExists:
                    # Of an earlier delivery, or of a database that was restored since.
                    wanted.name = name
                    made = jobs().update_job(job=wanted, timeout=_ANSWER_SECONDS)
                made.result(timeout=_PREPARE_SECONDS)  # type: ignore[no-untyped-call]
        except StateUnavailable as error:
            if isinstance(cause := error.__cause__, _REFUSALS):
                raise JobRefused(cause.message) from error
            raise

    def job_names(self) -> Iterator[str]:
        prefix = self.options.job_prefix
        if not prefix:
            return  # jobs of other sites could not be told from ours
        parent, _sep, _job = self._job("").rpartition("/jobs/")
        with _translated(parent):
            _connect(jobs())
            for job in jobs().list_jobs(parent=parent, timeout=_ANSWER_SECONDS):
                name = job.name.rpartition("/")[2].removeprefix(prefix)
                if job.name == self._job(name):
                    yield name

    def remove_job(self, job: str) -> None:
        name = self._job(job)
        with _translated(name), suppress(exceptions.NotFound):
            _connect(jobs())
            jobs().delete_job(name=name, timeout=_ANSWER_SECONDS)

    def check_job(self, job: str) -> None:
        name = self._job(job)
        with _translated(name):
            _connect(jobs())
            override = run_v2.RunJobRequest.Overrides.ContainerOverride(args=["check"])
            overrides = run_v2.RunJobRequest.Overrides(container_overrides=[override])
            # Cloud Run refuses what it would refuse of a launch, and starts nothing.
            jobs().run_job(
                run_v2.RunJobRequest(name=name, overrides=overrides, validate_only=True),
                timeout=_ANSWER_SECONDS,
            )
            executions().list_executions(parent=name, timeout=_ANSWER_SECONDS)

    def check_preparation(self) -> None:
        definition = JobDefinition(
            name=f"check-{uuid4().hex[:8]}",
            image="us-docker.pkg.dev/cloudrun/container/job",
            version="1",
            timeout_seconds=60,
            memory_mb=512,
            labels={},
        )
        parent, _sep, job_id = self._job(definition.name).rpartition("/jobs/")
        job = self._job_of(definition)
        with _translated(parent):
            _connect(jobs())
            # The maker of a job must be allowed to act as its account, and there are several.
            for account in (self.options.custom_account, *self.options.secret_accounts.values()):
                job.template.template.service_account = account
                request = run_v2.CreateJobRequest(
                    parent=parent, job=job, job_id=job_id, validate_only=True
                )
                jobs().create_job(request, timeout=_ANSWER_SECONDS)
        # The sweep lists and removes jobs; there is none of this name.
        next(self.job_names(), None)
        self.remove_job(definition.name)

    def check(self) -> Sequence[CheckMessage]:
        if settings.CAPABILITY_ACCOUNT:
            return []
        message = f"{self.where}: CAPABILITY_ACCOUNT is empty, so validators would get no files."
        hint = "Set it to a service account that has storage roles only (docs/production.md)."
        return [Error(message, hint=hint, id="validibot.runs.E003")]

    def _job(self, job: str) -> str:
        """Return the full name of the job of a validator."""
        options = self.options
        place = f"projects/{options.project}/locations/{options.region}"
        return f"{place}/jobs/{options.job_prefix}{job}"

    def _job_of(self, job: JobDefinition) -> run_v2.Job:
        """Return a job that starts its image once, as an account without rights to any file."""
        account = self.options.custom_account
        if job.secrets:
            account = self.options.secret_accounts[job.organisation]
        task = run_v2.TaskTemplate(
            containers=[_container_of(job)],
            max_retries=0,
            timeout=Duration(seconds=job.timeout_seconds),
            service_account=account,
            vpc_access=self._vpc_access(job.network),
        )
        labels = dict(job.labels)
        template = run_v2.ExecutionTemplate(task_count=1, template=task, labels=labels)
        return run_v2.Job(labels=labels, template=template)

    def _vpc_access(self, network: NetworkReach | None) -> run_v2.VpcAccess | None:
        """Return the way of all traffic into the subnetwork, for jobs that must not reach the internet.

        See https://cloud.google.com/run/docs/configuring/vpc-direct-vpc.
        """
        if network is not NetworkReach.PLATFORM:
            return None
        interface = run_v2.VpcAccess.NetworkInterface(subnetwork=self.options.custom_subnetwork)
        return run_v2.VpcAccess(
            egress=run_v2.VpcAccess.VpcEgress.ALL_TRAFFIC, network_interfaces=[interface]
        )

    def _secrets_of(self, execution: run_v2.Execution) -> dict[str, str]:
        """Return the references of the secrets that an execution gets, by name."""
        return {
            variable.name: _reference(variable.value_source.secret_key_ref, self.options.project)
            for container in execution.template.containers
            for variable in container.env
            if variable.value_source.secret_key_ref.secret
        }


def _connect(client: Any) -> None:
    """Wait until the client is connected, TLS included. Raises StateUnavailable.

    A call would wait for its whole deadline, and then nobody could tell whether it was sent.
    """
    ready = grpc.channel_ready_future(client.transport.grpc_channel)
    try:
        ready.result(timeout=_CONNECT_SECONDS)
    except grpc.FutureTimeoutError:
        ready.cancel()
        raise StateUnavailable(
            f"no connection to {client.transport.host} within {_CONNECT_SECONDS:.0f} s"
        ) from None


def _was_not_sent(error: Exception) -> bool:
    """Return whether an error proves that no execution was started."""
    refused_for_now = isinstance(error, exceptions.ResourceExhausted)
    return refused_for_now or isinstance(error, GoogleAuthError) or _NO_TOKEN in str(error)


def _overrides(
    request: LaunchRequest, capability: StorageCapability
) -> run_v2.RunJobRequest.Overrides:
    environment = confined_environment(request, capability)
    container = run_v2.RunJobRequest.Overrides.ContainerOverride(
        env=[run_v2.EnvVar(name=name, value=value) for name, value in environment.items()]
    )
    return run_v2.RunJobRequest.Overrides(
        container_overrides=[container], timeout=Duration(seconds=request.timeout_seconds)
    )


def _container_of(job: JobDefinition) -> run_v2.Container:
    limits = {"cpu": "2" if job.memory_mb > 2048 else "1", "memory": f"{max(512, job.memory_mb)}Mi"}
    environment = {
        "DEPLOYMENT_TARGET": "gcp",
        "PYTHONUNBUFFERED": "1",
        "VALIDATOR_VERSION": job.version,
    }
    plain = [run_v2.EnvVar(name=name, value=value) for name, value in environment.items()]
    return run_v2.Container(
        image=job.image,
        resources=run_v2.ResourceRequirements(limits=limits),
        env=[*plain, *(_from_secret(*secret) for secret in job.secrets.items())],
    )


def _from_secret(name: str, reference: str) -> run_v2.EnvVar:
    """Return a variable with the value of `projects/P/secrets/S/versions/N`.

    https://cloud.google.com/run/docs/reference/rest/v2/Container#secretkeyselector: a secret of the
    job's own project is given by its name alone.
    """
    parts = reference.split("/")
    selector = run_v2.SecretKeySelector(secret=parts[3], version=parts[5])
    return run_v2.EnvVar(name=name, value_source=run_v2.EnvVarSource(secret_key_ref=selector))


def _reference(selector: run_v2.SecretKeySelector, project: str) -> str:
    """Return the counterpart of `_from_secret`: Cloud Run may answer with the long name."""
    secret = selector.secret.rpartition("/")[2]
    return f"projects/{project}/secrets/{secret}/versions/{selector.version}"


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except _ERRORS as error:
        raise StateUnavailable(f"{name}: {error}") from error
