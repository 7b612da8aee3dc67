"""Cloud Scheduler as Google's own client finds it."""

# mypy: disable-error-code="no-untyped-call"

import uuid
from collections.abc import Iterator

import pytest
from google.api_core import exceptions
from google.auth.transport.requests import Request
from google.cloud import scheduler_v1
from google.oauth2 import id_token

from tests.emulator.conftest import ActAs
from tests.emulator.target import Worker

PLACE = "projects/validibot-local/locations/us-west1"
ACCOUNT = "scheduler@validibot-local.iam.gserviceaccount.com"

type Client = scheduler_v1.CloudSchedulerClient


@pytest.fixture(params=["grpc", "rest"])
def client(act_as: ActAs, request: pytest.FixtureRequest) -> Iterator[Client]:
    act_as("admin")
    with scheduler_v1.CloudSchedulerClient(transport=request.param) as client:
        yield client


@pytest.fixture
def job(client: Client, worker: Worker) -> Iterator[scheduler_v1.Job]:
    """A job that will not fire by itself."""
    made = client.create_job(
        parent=PLACE,
        job=scheduler_v1.Job(
            name=f"{PLACE}/jobs/j-{uuid.uuid4().hex}",
            schedule="0 0 1 1 *",
            time_zone="Europe/Vienna",
            http_target={
                "uri": f"{worker.url}/tick",
                "oidc_token": {"service_account_email": ACCOUNT, "audience": "https://worker"},
            },
        ),
    )
    yield made
    client.delete_job(name=made.name)


def test_created_job_has_next_slot_and_defaults(job: scheduler_v1.Job) -> None:
    assert job.state == scheduler_v1.Job.State.ENABLED
    assert (job.schedule_time.month, job.schedule_time.day, job.schedule_time.hour) == (12, 31, 23)
    assert job.attempt_deadline.total_seconds() == 180


def test_run_job_calls_target_with_token(
    client: Client, job: scheduler_v1.Job, worker: Worker
) -> None:
    client.run_job(name=job.name)
    headers = worker.next().headers
    token = headers["authorization"].removeprefix("Bearer ")

    assert headers["user-agent"] == "Google-Cloud-Scheduler"
    assert headers["x-cloudscheduler"] == "true"
    assert headers["x-cloudscheduler-jobname"] == job.name.rpartition("/")[2]
    claims = id_token.verify_oauth2_token(token, Request(), audience="https://worker")
    assert claims["email"] == ACCOUNT


def test_job_lifecycle_by_published_client(client: Client, job: scheduler_v1.Job) -> None:
    assert client.pause_job(name=job.name).state == scheduler_v1.Job.State.PAUSED
    assert client.resume_job(name=job.name).state == scheduler_v1.Job.State.ENABLED
    changed = client.update_job(
        job=scheduler_v1.Job(name=job.name, schedule="*/5 * * * *"),
        update_mask={"paths": ["schedule"]},
    )
    assert (changed.schedule, changed.time_zone) == ("*/5 * * * *", "Europe/Vienna")
    assert changed.name in [each.name for each in client.list_jobs(parent=PLACE)]


def test_missing_job_is_not_found(client: Client) -> None:
    with pytest.raises(exceptions.NotFound, match="Job not found"):
        client.get_job(name=f"{PLACE}/jobs/none")
