"""Our task backends, from enqueueing to what arrives where the task is done."""

import datetime as dt
import json
import socket
import time
import uuid
from collections.abc import Iterator
from queue import Empty

import pytest
from django.db import connection
from django.utils import timezone
from google.api_core import exceptions
from google.cloud.tasks_v2 import CloudTasksClient
from google.oauth2.credentials import Credentials
from pytest_django import Settings

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.cloud import ActAs
from tests.contract.queues import CloudQueue, DatabaseQueue, Queue, at_work
from tests.emulator.target import Worker, working
from validibot.core import oidc
from validibot.dispatch import cloud_tasks
from validibot.dispatch.cloud_tasks import CloudTasksBackend
from validibot.dispatch.database import worker as database_worker
from validibot.dispatch.database.backend import DatabaseBackend
from validibot.dispatch.database.models import QueuedTask
from validibot.dispatch.database.upkeep import requeue
from validibot.dispatch.receive import Delivery
from validibot.runs.tasks import cancel_execution

pytestmark = pytest.mark.django_db(transaction=True)

QUEUE = "projects/validibot-local/locations/us-west1/queues/runs"
WORKER_URL = "https://validibot-worker-123456789012.us-west1.run.app"
TASKS = "tasks@validibot-local.iam.gserviceaccount.com"
HURRY = {"poll_seconds": 0.1, "min_backoff": 0.1, "max_backoff": 0.2, "max_attempts": 3}


@pytest.fixture
def backend(cloud: Cloud, act_as: ActAs, settings: Settings) -> Iterator[CloudTasksBackend]:
    """The backend as settings/cloud.py wires it, in the web service."""
    act_as("web")
    options = {
        "queue": QUEUE,
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


@pytest.fixture
def _empty(cloud: Cloud, act_as: ActAs) -> None:
    """Other tests of this process may have left tasks for a worker that has long gone."""
    act_as("admin")
    with CloudTasksClient() as admin:
        admin.purge_queue(name=QUEUE)


@pytest.fixture
def cloud_queue(_empty: None, backend: CloudTasksBackend, worker: Worker) -> CloudQueue:
    return CloudQueue(backend, worker)


@pytest.fixture
def database_queue(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseQueue]:
    """The backend as settings/database_queue.py wires it, with less patience."""
    path = "validibot.dispatch.database.backend.DatabaseBackend"
    settings.TASKS = {"default": {"BACKEND": path, "OPTIONS": HURRY}}
    backend = DatabaseBackend("default", settings.TASKS["default"])
    made = DatabaseQueue(backend)
    monkeypatch.setattr(database_worker, "deliver", made.deliver)
    with at_work(backend.settings):
        yield made
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs, procrastinate_workers CASCADE")


@pytest.fixture(params=["cloud_queue", "database_queue"])
def queue(request: pytest.FixtureRequest) -> Queue:
    found: Queue = request.getfixturevalue(request.param)
    return found


def test_a_task_arrives_with_its_path_its_arguments_and_its_id(queue: Queue) -> None:
    result = queue.backend.enqueue(cancel_execution, ["42"], {"why": [1, None]})

    arrived = queue.next()
    assert json.loads(arrived.body) == {
        "task": "validibot.runs.tasks.cancel_execution",
        "args": ["42"],
        "kwargs": {"why": [1, None]},
    }
    assert (arrived.task_id, arrived.number) == (result.id, 0)


def test_what_is_not_done_arrives_again_and_says_how_often_it_did(queue: Queue) -> None:
    queue.script.extend([409, 503])

    result = queue.backend.enqueue(cancel_execution, ["42"], {})

    arrived = [queue.next() for _ in range(3)]
    assert [each.number for each in arrived] == [0, 1, 2]
    assert {each.task_id for each in arrived} == {result.id}


def test_what_is_done_does_not_arrive_again(queue: Queue) -> None:
    queue.backend.enqueue(cancel_execution, ["1"], {})
    queue.backend.enqueue(cancel_execution, ["2"], {})

    arrived = [json.loads(queue.next().body)["args"] for _ in range(2)]
    assert sorted(arrived) == [["1"], ["2"]]
    with pytest.raises(Empty):
        queue.next(seconds=0.5)


def test_enqueue_once_delivers_one_task_per_key(queue: Queue) -> None:
    later = cancel_execution.using(run_after=timezone.now() + dt.timedelta(seconds=0.5))

    added = [queue.backend.enqueue_once(later, ["42"], {}, key=f"c-{uuid.uuid4()}")]
    key = f"cancel-{uuid.uuid4()}"
    added += [queue.backend.enqueue_once(later, [each], {}, key=key) for each in ("1", "2")]

    assert [bool(each) for each in added] == [True, True, False]
    arrived = sorted(json.loads(queue.next().body)["args"] for _ in range(2))
    assert arrived == [["1"], ["42"]]
    with pytest.raises(Empty):
        queue.next(seconds=0.5)


def test_retried_task_gives_way_to_a_new_one_with_its_key(database_queue: DatabaseQueue) -> None:
    backend, key = database_queue.backend, f"cancel-{uuid.uuid4()}"

    def enqueue_again(delivery: Delivery) -> None:
        if b"first" in delivery.body:
            later = cancel_execution.using(run_after=timezone.now() + dt.timedelta(seconds=1))
            backend.enqueue_once(later, ["again"], {}, key=key)

    database_queue.script.append(500)
    database_queue.before_answer = enqueue_again
    backend.enqueue_once(cancel_execution, ["first"], {}, key=key)

    arrived = [json.loads(database_queue.next().body)["args"] for _ in range(2)]
    assert arrived == [["first"], ["again"]]
    with pytest.raises(Empty):
        database_queue.next(seconds=0.5)
    assert not QueuedTask.objects.exists()


def test_a_task_can_wait_for_its_time(queue: Queue) -> None:
    assert queue.backend.supports_defer
    when = timezone.now() + dt.timedelta(seconds=1)

    queue.backend.enqueue(cancel_execution.using(run_after=when), ["42"], {})
    queue.backend.enqueue(cancel_execution, ["now"], {})

    assert b"now" in queue.next().body
    assert b"42" in queue.next().body
    assert timezone.now() >= when


def test_a_task_of_cloud_tasks_carries_a_token_that_opens_our_door(
    backend: CloudTasksBackend, worker: Worker
) -> None:
    backend.enqueue(cancel_execution, ["42"], {})

    token = worker.next().headers["authorization"].removeprefix("Bearer ")
    oidc._transport.cache_clear()
    assert oidc.verify(token, audience=WORKER_URL, allowed=[TASKS]) == TASKS


def test_a_creation_whose_answer_was_lost_is_repeated_without_doubt(
    backend: CloudTasksBackend, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = uuid.uuid4()
    monkeypatch.setattr(uuid, "uuid4", lambda: same)

    backend.enqueue(cancel_execution, ["42"], {})
    backend.enqueue(cancel_execution, ["42"], {})

    assert worker.next().headers["x-cloudtasks-taskname"] == same.hex
    assert worker.arrivals.empty()


def test_what_fails_too_often_is_dead_until_somebody_requeues_it(
    database_queue: DatabaseQueue,
) -> None:
    database_queue.script.extend([500, 500, 500])
    result = database_queue.backend.enqueue(cancel_execution, ["42"], {})
    assert [database_queue.next().number for _ in range(3)] == [0, 1, 2]

    dead = _until_dead(result.id)
    assert (dead.attempts, dead.error) == (3, "scripted: 500")

    assert requeue([dead.pk]) == 1
    assert (database_queue.next().number, database_queue.deliveries.empty()) == (0, True)


def _until_dead(pk: str) -> QueuedTask:
    for _ in range(100):
        task = QueuedTask.objects.get(pk=pk)
        if task.status == QueuedTask.DEAD:
            return task
        time.sleep(0.02)
    raise AssertionError(f"task {pk} is not dead")


def test_enqueue_without_tls_fails_within_seconds(
    backend: CloudTasksBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"127.0.0.1:{silent.getsockname()[1]}"
        client = CloudTasksClient(
            credentials=Credentials("token"),  # type: ignore[no-untyped-call]
            client_options={"api_endpoint": where},
        )
        started = time.monotonic()
        with monkeypatch.context() as patch, client:
            patch.setattr(cloud_tasks, "client", lambda: client)
            with pytest.raises((exceptions.GoogleAPICallError, exceptions.RetryError)):
                backend.enqueue(cancel_execution, ["42"], {})

    assert time.monotonic() - started < 8
