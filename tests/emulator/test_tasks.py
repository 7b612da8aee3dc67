"""Cloud Tasks as Google's own client finds it, in its usual gRPC form and over REST."""

# mypy: disable-error-code="no-untyped-call"

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.transport.requests import Request
from google.cloud import tasks_v2
from google.oauth2 import id_token
from google.protobuf import duration_pb2

from devenv.gcp.config import CloudConfig
from tests.emulator.conftest import ActAs
from tests.emulator.target import Worker, working

PLACE = "projects/validibot-local/locations/us-west1"
QUEUE = f"{PLACE}/queues/runs"
ACCOUNT = "tasks@validibot-local.iam.gserviceaccount.com"

type Client = tasks_v2.CloudTasksClient


@pytest.fixture(params=["grpc", "rest"])
def client(act_as: ActAs, request: pytest.FixtureRequest) -> Iterator[Client]:
    act_as("admin")
    with tasks_v2.CloudTasksClient(transport=request.param) as client:
        yield client


@pytest.fixture
def queue(client: Client) -> Iterator[str]:
    """A queue of the test's own, which is paused."""
    name = f"{PLACE}/queues/q-{uuid.uuid4().hex}"
    client.create_queue(parent=PLACE, queue=tasks_v2.Queue(name=name))
    client.pause_queue(name=name)
    yield name
    client.delete_queue(name=name)


def task(url: str, name: str = "", **fields: Any) -> tasks_v2.Task:
    request = {"url": url, "body": b'{"run": 1}', "headers": {"Content-Type": "application/json"}}
    return tasks_v2.Task(name=name, http_request={**request, **fields})


def oidc(audience: str = "") -> dict[str, Any]:
    return {"oidc_token": {"service_account_email": ACCOUNT, "audience": audience}}


def test_task_arrives_as_created(client: Client, worker: Worker) -> None:
    made = client.create_task(parent=QUEUE, task=task(f"{worker.url}/a?b=1"))
    arrival = worker.next()

    assert (arrival.method, arrival.path, arrival.body) == ("POST", "/a?b=1", b'{"run": 1}')
    assert arrival.headers["content-type"] == "application/json"
    assert arrival.headers["user-agent"] == "Google-Cloud-Tasks"
    assert arrival.headers["x-cloudtasks-queuename"] == "runs"
    assert arrival.headers["x-cloudtasks-taskname"] == made.name.rpartition("/")[2]


def test_google_auth_accepts_token_of_task(client: Client, worker: Worker) -> None:
    client.create_task(parent=QUEUE, task=task(f"{worker.url}/a?b=1", **oidc()))
    token = worker.next().headers["authorization"].removeprefix("Bearer ")
    claims = id_token.verify_oauth2_token(token, Request(), audience=f"{worker.url}/a?b=1")

    assert (claims["email"], claims["email_verified"]) == (ACCOUNT, True)


def test_failed_task_is_delivered_again(client: Client, worker: Worker) -> None:
    worker.script = [500, 404]
    client.create_task(parent=QUEUE, task=task(worker.url))
    arrivals = [worker.next() for _ in range(3)]

    assert [a.headers["x-cloudtasks-taskretrycount"] for a in arrivals] == ["0", "1", "2"]
    assert [a.headers["x-cloudtasks-taskexecutioncount"] for a in arrivals] == ["0", "0", "1"]
    assert arrivals[2].headers["x-cloudtasks-taskpreviousresponse"] == "404"
    assert arrivals[2].headers["x-cloudtasks-taskretryreason"] == ""


def test_task_reaches_private_service_through_ingress(client: Client, config: CloudConfig) -> None:
    url = config.service_url("validibot-worker")
    port = next(s.port for s in config.services if s.name == "validibot-worker")
    with working(port) as worker:
        client.create_task(parent=QUEUE, task=task(f"{url}/private/", **oidc(url)))
        arrival = worker.next(path="/private/")

    assert arrival.headers["host"] == url.removeprefix("https://")
    assert arrival.headers["x-forwarded-proto"] == "https"


def test_task_without_token_is_refused_by_ingress(
    client: Client, queue: str, config: CloudConfig
) -> None:
    name = f"{queue}/tasks/stranger"
    client.create_task(
        parent=queue,
        task=task(config.service_url("validibot-worker"), name, http_method="GET", body=b""),
    )
    client.run_task(name=name)
    client.resume_queue(name=queue)
    found = client.get_task(name=name)
    while not found.response_count:
        found = client.get_task(name=name)

    assert found.last_attempt.response_status.code == 7  # PERMISSION_DENIED


def test_task_name_is_used_once(client: Client, queue: str, worker: Worker) -> None:
    named = task(worker.url, f"{queue}/tasks/once")
    client.create_task(parent=queue, task=named)
    with pytest.raises(exceptions.Conflict, match="Requested entity already exists"):
        client.create_task(parent=queue, task=named)
    client.delete_task(name=named.name)
    with pytest.raises(exceptions.Conflict):
        client.create_task(parent=queue, task=named)


def test_paused_queue_keeps_its_tasks(client: Client, queue: str, worker: Worker) -> None:
    for name in "abc":
        client.create_task(parent=queue, task=task(worker.url, f"{queue}/tasks/{name}"))
    assert [each.name[-1] for each in client.list_tasks(parent=queue)] == ["a", "b", "c"]
    assert worker.arrivals.empty()

    assert client.resume_queue(name=queue).state == tasks_v2.Queue.State.RUNNING
    arrived = {worker.next().headers["x-cloudtasks-taskname"] for _ in range(3)}
    assert arrived == {"a", "b", "c"}


def test_grpc_and_rest_show_same_task(act_as: ActAs, queue: str) -> None:
    act_as("admin")
    with (
        tasks_v2.CloudTasksClient(transport="grpc") as grpc,
        tasks_v2.CloudTasksClient(transport="rest") as rest,
    ):
        made = grpc.create_task(parent=queue, task=task("http://127.0.0.1:1/"))
        assert rest.get_task(name=made.name) == grpc.get_task(name=made.name) == made


def test_queue_is_changed_by_mask(client: Client, queue: str) -> None:
    limits = tasks_v2.RateLimits(max_dispatches_per_second=0.5)
    changed = client.update_queue(
        queue=tasks_v2.Queue(name=queue, rate_limits=limits),
        update_mask={"paths": ["rate_limits.max_dispatches_per_second"]},
    )
    assert changed.rate_limits.max_dispatches_per_second == 0.5
    assert changed.retry_config.max_attempts == 100
    assert client.purge_queue(name=queue).purge_time


def test_refusals_have_google_texts_and_details(client: Client) -> None:
    with pytest.raises(exceptions.NotFound, match=r"Queue does not exist\. If you just"):
        client.create_task(parent=f"{PLACE}/queues/none", task=task("http://x/"))
    short = task("http://x/")
    short.dispatch_deadline = duration_pb2.Duration(seconds=1)
    with pytest.raises(exceptions.BadRequest, match=r"between \[15s, 30m\]"):
        client.create_task(parent=QUEUE, task=short)
    with pytest.raises(exceptions.BadRequest, match="can contain only letters") as refused:
        client.get_task(name=f"{QUEUE}/tasks/a b")
    assert "Definition of task ID" in str(refused.value.details)


def test_enqueuer_role_cannot_read_tasks(act_as: ActAs, worker: Worker) -> None:
    act_as("web")
    with tasks_v2.CloudTasksClient() as client:
        client.create_task(parent=QUEUE, task=task(worker.url, **oidc()))
        with pytest.raises(exceptions.PermissionDenied, match=r"cloudtasks\.tasks\.list"):
            client.list_tasks(parent=QUEUE)
    assert worker.next().headers["authorization"]
