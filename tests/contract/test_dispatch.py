"""Our task backend on Cloud Tasks, from enqueueing to a delivery that our doors let in."""

import datetime as dt
import uuid
from collections.abc import Iterator

import pytest
from django.utils import timezone
from google.cloud import tasks_v2
from pytest_django import Settings

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.cloud import ActAs
from tests.emulator.target import Worker, working
from validibot.core import oidc
from validibot.dispatch import cloud_tasks
from validibot.dispatch.cloud_tasks import CloudTasksBackend
from validibot.runs.tasks import cancel_execution

WORKER_URL = "https://validibot-worker-123456789012.us-west1.run.app"
TASKS = "tasks@validibot-local.iam.gserviceaccount.com"


@pytest.fixture
def backend(cloud: Cloud, act_as: ActAs, settings: Settings) -> Iterator[CloudTasksBackend]:
    """The backend as settings/cloud.py wires it, in the web service."""
    act_as("web")
    options = {
        "queue": "projects/validibot-local/locations/us-west1/queues/runs",
        "url": f"{WORKER_URL}/internal/tasks/",
        "service_account": TASKS,
        "audience": WORKER_URL,
    }
    path = "validibot.dispatch.cloud_tasks.CloudTasksBackend"
    settings.TASKS = {"default": {"BACKEND": path, "OPTIONS": options}}
    cloud_tasks.client.cache_clear()
    yield CloudTasksBackend("default", settings.TASKS["default"])
    cloud_tasks.client().transport.close()  # type: ignore[no-untyped-call]
    cloud_tasks.client.cache_clear()


@pytest.fixture
def worker(config: CloudConfig) -> Iterator[Worker]:
    """What listens where the private worker should."""
    [service] = [each for each in config.services if each.name == "validibot-worker"]
    with working(service.port) as worker:
        yield worker


def test_a_task_is_delivered_with_a_token_that_opens_our_door(
    backend: CloudTasksBackend, worker: Worker
) -> None:
    result = backend.enqueue(cancel_execution, ["42"], {})

    arrival = worker.next()
    token = arrival.headers["authorization"].removeprefix("Bearer ")
    oidc._transport.cache_clear()
    assert oidc.verify(token, audience=WORKER_URL, allowed=[TASKS]) == TASKS
    assert arrival.headers["x-cloudtasks-taskname"] == result.id
    assert b"validibot.runs.tasks.cancel_execution" in arrival.body


def test_what_is_not_done_is_delivered_again(backend: CloudTasksBackend, worker: Worker) -> None:
    worker.script.extend([409, 503])

    backend.enqueue(cancel_execution, ["42"], {})

    counts = [worker.next().headers["x-cloudtasks-taskretrycount"] for _ in range(3)]
    assert counts == ["0", "1", "2"]


def test_a_task_can_wait_for_its_time(backend: CloudTasksBackend, act_as: ActAs) -> None:
    when = timezone.now() + dt.timedelta(hours=1)

    result = cancel_execution.using(run_after=when).enqueue("42")

    name = f"{backend.options['queue']}/tasks/{result.id}"
    act_as("admin")  # who enqueues may not look
    with tasks_v2.CloudTasksClient() as admin:
        stored = admin.get_task(name=name)
        admin.delete_task(name=name)
    assert abs((stored.schedule_time - when).total_seconds()) < 0.001


def test_a_creation_whose_answer_was_lost_is_repeated_without_doubt(
    backend: CloudTasksBackend, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = uuid.uuid4()
    monkeypatch.setattr(uuid, "uuid4", lambda: same)

    backend.enqueue(cancel_execution, ["42"], {})
    backend.enqueue(cancel_execution, ["42"], {})

    assert worker.next().headers["x-cloudtasks-taskname"] == same.hex
    assert worker.arrivals.empty()
