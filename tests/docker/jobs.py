"""An emulated cloud whose jobs are containers, and Google's client for them."""

# mypy: disable-error-code="no-untyped-call"

import textwrap
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest
from google.api_core import exceptions
from google.api_core.future.polling import DEFAULT_POLLING
from google.api_core.operation import Operation
from google.auth.compute_engine import _metadata
from google.cloud import run_v2

from devenv.gcp import Cloud
from devenv.gcp.config import CloudPlace, IamBinding, ImageConfig
from devenv.gcp.run_jobs.runtimes.docker import engine_of
from tests import engine as engines
from tests.declared import cloud as declared_cloud
from tests.waiting import until

PLACE = "projects/validibot-local/locations/us-west1"
ACCOUNT = "validator-fmu@validibot-local.iam.gserviceaccount.com"
IMAGE = "python:3.13-slim-trixie"
VALIDATOR = "validibot/validator-fmu:0.1.0"


class Jobs:
    """Client that creates and runs jobs; `data` is the cloud's folder, `api` the engine."""

    def __init__(
        self, client: run_v2.JobsClient, *, data: Path, network: str, api: docker.APIClient
    ) -> None:
        self.client = client
        self.data = data
        self.owner = engine_of(data, network).owner
        self.api = api

    def make(self, source: str, *, image: str = IMAGE, memory: str = "128Mi", **task: Any) -> str:
        container = run_v2.Container(
            image=image, command=["python3", "-uc"], args=[textwrap.dedent(source)]
        )
        container.resources.limits["memory"] = memory
        fields = {"containers": [container], "service_account": ACCOUNT, "max_retries": 0} | task
        template = run_v2.ExecutionTemplate(template=run_v2.TaskTemplate(fields))
        made = self.client.create_job(
            parent=PLACE, job=run_v2.Job(template=template), job_id=f"j-{uuid.uuid4().hex[:12]}"
        )
        return str(made.result().name)

    def run(self, source: str, **job: Any) -> run_v2.Execution:
        """Run a job to its end. Raises the error of its operation."""
        return self.wait(self.client.run_job(name=self.make(source, **job)))

    def wait(self, operation: Operation) -> run_v2.Execution:
        """Wait for the end of an execution and return it."""
        polling = DEFAULT_POLLING.with_delay(initial=0.1, maximum=0.3, multiplier=1.5)
        execution: run_v2.Execution = operation.result(polling=polling)
        return execution

    def error(self, source: str, **job: Any) -> str:
        """Run a job that fails; return the error of its operation."""
        with pytest.raises(exceptions.GoogleAPICallError) as caught:
            self.run(source, **job)
        return str(caught.value)

    def log(self, execution: run_v2.Execution, task: str = "task0-0") -> str:
        short = execution.name.rsplit("/", 1)[-1]
        path = self.data / "logs" / short / f"{task}.log"
        return path.read_text() if path.exists() else ""

    def until_it_says(self, execution: run_v2.Execution, text: str) -> None:
        until(lambda: text in self.log(execution))

    def containers(self) -> list[Any]:
        """Return the containers of this cloud."""
        mine = {"label": f"io.validibot.owner={self.owner}"}
        found: list[Any] = self.api.containers(all=True, filters=mine)
        return found

    def until_nothing_is_left(self) -> None:
        until(lambda: not self.containers())


def cloud_of(data: Path, place: CloudPlace) -> Cloud:
    """Return the cloud of devenv.toml with an account `admin` and without schedules."""
    declared = declared_cloud()
    further = (
        IamBinding("admin", "roles/run.admin"),
        IamBinding("admin", "roles/iam.serviceAccountUser"),
        IamBinding("admin", "roles/secretmanager.admin"),
        IamBinding("validator-fmu", "roles/secretmanager.secretAccessor"),
        IamBinding("validator-fmu", "roles/storage.objectUser", f"bucket/{declared.buckets[0]}"),
    )
    config = replace(
        declared,
        accounts=(*declared.accounts, "admin"),
        bindings=(*declared.bindings, *further),
        schedules=(),
        images=(*declared.images, ImageConfig("demo/made:1", build="make demo")),
    )
    return Cloud(config, data=data, place=place)


@pytest.fixture(scope="module")
def docker_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with cloud_of(tmp_path_factory.mktemp("gcp"), CloudPlace(jobs="docker")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def network() -> tuple[str, str]:
    """Return the network that the cloud creates."""
    return "", ""


@pytest.fixture
def jobs(
    docker_cloud: Cloud, network: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Jobs]:
    """Return jobs with Google's client over REST: gRPC reads its CA bundle once per process."""
    environ = docker_cloud.environ("admin")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    # google-auth reads this variable only when it is imported.
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", environ["GCE_METADATA_HOST"])
    api = engines.connect().api
    with run_v2.JobsClient(transport="rest") as client:
        data = docker_cloud.bundle.parents[1]
        jobs = Jobs(client, data=data, network=network[0], api=api)
        yield jobs
        jobs.until_nothing_is_left()
    api.close()
