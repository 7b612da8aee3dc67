"""Both queue backends, from enqueueing to the delivery."""

import datetime as dt
import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from queue import Empty
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone
from google.api_core import exceptions
from google.cloud.tasks_v2 import CloudTasksClient
from google.oauth2.credentials import Credentials
from pytest_django import Settings

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from devenv.pytest_plugin import ActAs
from tests.contract.queues import CloudQueue, DatabaseQueue, QueueUnderTest, at_work, forget_workers
from tests.emulator.target import Worker, working
from tests.waiting import LIMIT, until
from validibot.dispatch import cloud_tasks
from validibot.dispatch.cloud_tasks import CloudTasksBackend
from validibot.dispatch.database import worker as database_worker
from validibot.dispatch.database.backend import DatabaseBackend, QueueOptions
from validibot.dispatch.database.models import QueuedTask
from validibot.dispatch.delivery import TaskDelivery, deliver, requeue
from validibot.dispatch.models import DeadLetter
from validibot.runs.tasks import cancel_execution
from validibot.worker import views
from validibot.workflows.fmu import probe_fmu

pytestmark = pytest.mark.django_db(transaction=True)

QUEUE = "projects/validibot-local/locations/us-west1/queues/runs"
WORKER_URL = "https://validibot-worker-123456789012.us-west1.run.app"
TASKS = "tasks@validibot-local.iam.gserviceaccount.com"
QUEUES = ["default", probe_fmu.queue_name]
SHORT_WAITS: dict[str, Any] = {
    "poll_seconds": 0.1,
    "min_backoff": 0.1,
    "max_backoff": 0.2,
    "max_attempts": 3,
}


@pytest.fixture
def backend(
    cloud: Cloud, _empty: None, act_as: ActAs, settings: Settings
) -> Iterator[CloudTasksBackend]:
    """The backend as settings/cloud.py wires it, in the web service."""
    act_as("web")
    options = {
        "queue": QUEUE,
        "queues": {probe_fmu.queue_name: f"{QUEUE.rpartition('/')[0]}/{probe_fmu.queue_name}"},
        "url": f"{WORKER_URL}/internal/tasks/",
        "service_account": TASKS,
        "audience": WORKER_URL,
    }
    path = "validibot.dispatch.cloud_tasks.CloudTasksBackend"
    settings.TASKS = {"default": {"BACKEND": path, "QUEUES": QUEUES, "OPTIONS": options}}
    cloud_tasks.client.cache_clear()
    yield CloudTasksBackend("default", settings.TASKS["default"])
    cloud_tasks.client().transport.close()  # type: ignore[no-untyped-call]
    cloud_tasks.client.cache_clear()


@pytest.fixture
def worker(config: CloudConfig) -> Iterator[Worker]:
    """A server in place of the private worker."""
    [service] = [each for each in config.services if each.name == "validibot-worker"]
    with working(service.port) as worker:
        yield worker


@pytest.fixture
def _empty(cloud: Cloud, act_as: ActAs) -> None:
    """Other tests of this process may have left tasks behind."""
    act_as("admin")
    with CloudTasksClient() as admin:
        admin.purge_queue(name=QUEUE)


@pytest.fixture
def cloud_queue(backend: CloudTasksBackend, worker: Worker) -> CloudQueue:
    return CloudQueue(backend, worker)


@pytest.fixture
def idle_queue(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseQueue]:
    """The backend as settings/database_queue.py wires it, with shorter waits and no worker."""
    path = "validibot.dispatch.database.backend.DatabaseBackend"
    settings.TASKS = {"default": {"BACKEND": path, "QUEUES": QUEUES, "OPTIONS": SHORT_WAITS}}
    backend = DatabaseBackend("default", settings.TASKS["default"])
    made = DatabaseQueue(backend)
    monkeypatch.setattr(database_worker, "deliver", made.deliver)
    yield made
    forget_workers()


@pytest.fixture
def database_queue(idle_queue: DatabaseQueue) -> Iterator[DatabaseQueue]:
    with at_work(QueueOptions(**SHORT_WAITS)):
        yield idle_queue


@pytest.fixture(params=["cloud_queue", "database_queue"])
def queue(request: pytest.FixtureRequest) -> QueueUnderTest:
    found: QueueUnderTest = request.getfixturevalue(request.param)
    return found


def test_delivery_carries_path_arguments_and_id(queue: QueueUnderTest) -> None:
    result = queue.backend.enqueue(cancel_execution, ["42"], {"why": [1, None]})

    arrived = queue.next()
    assert json.loads(arrived.body) == {
        "task": "validibot.runs.tasks.cancel_execution",
        "args": ["42"],
        "kwargs": {"why": [1, None]},
    }
    assert (arrived.task_id, arrived.number) == (result.id, 0)


def test_task_with_a_queue_of_its_own_is_delivered(queue: QueueUnderTest) -> None:
    result = queue.backend.enqueue(probe_fmu, [7], {})

    arrived = queue.next()
    assert json.loads(arrived.body)["task"] == "validibot.workflows.fmu.probe_fmu"
    assert arrived.task_id == result.id


def test_failed_task_arrives_again_with_its_count(queue: QueueUnderTest) -> None:
    queue.script.extend([409, 503])

    result = queue.backend.enqueue(cancel_execution, ["42"], {})

    arrived = [queue.next() for _ in range(3)]
    assert [each.number for each in arrived] == [0, 1, 2]
    assert {each.task_id for each in arrived} == {result.id}


def test_done_task_does_not_arrive_again(queue: QueueUnderTest) -> None:
    queue.backend.enqueue(cancel_execution, ["1"], {})
    queue.backend.enqueue(cancel_execution, ["2"], {})

    arrived = [json.loads(queue.next().body)["args"] for _ in range(2)]
    assert sorted(arrived) == [["1"], ["2"]]
    with pytest.raises(Empty):
        queue.next(seconds=0.5)


def test_enqueue_once_delivers_one_task_per_key(queue: QueueUnderTest) -> None:
    later = cancel_execution.using(run_after=timezone.now() + dt.timedelta(seconds=2))

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

    def enqueue_again(delivery: TaskDelivery) -> None:
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


def test_deferred_task_arrives_at_its_time(queue: QueueUnderTest) -> None:
    assert queue.backend.supports_defer
    when = timezone.now() + dt.timedelta(seconds=2)

    queue.backend.enqueue(cancel_execution.using(run_after=when), ["42"], {})
    queue.backend.enqueue(cancel_execution, ["now"], {})

    assert b"now" in queue.next().body
    assert b"42" in queue.next().body
    assert timezone.now() >= when


def test_periodic_task_arrives_without_arguments(idle_queue: DatabaseQueue) -> None:
    path = "validibot.runs.tasks.sweep"

    with at_work(QueueOptions(**SHORT_WAITS, periodic={path: "* * * * * *"})):
        arrived = idle_queue.next()

    assert json.loads(arrived.body) == {"task": path, "args": [], "kwargs": {}}


def test_task_that_outlasts_shutdown_is_put_back(idle_queue: DatabaseQueue) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def block(_: TaskDelivery) -> None:
        begun.set()
        may_end.wait(LIMIT)

    idle_queue.before_answer = block
    idle_queue.backend.enqueue(cancel_execution, ["42"], {})

    with at_work(QueueOptions(**SHORT_WAITS), shutdown_timeout=0.1):
        assert begun.wait(LIMIT)

    assert QueuedTask.objects.get().state == "waiting"
    may_end.set()


def test_cloud_task_carries_token_of_queue_account(
    backend: CloudTasksBackend, worker: Worker
) -> None:
    backend.enqueue(cancel_execution, ["42"], {})

    token = worker.next(path="/internal/tasks/").headers["authorization"].removeprefix("Bearer ")
    views._transport.cache_clear()
    assert views.verify_id_token(token, audience=WORKER_URL, allowed=[TASKS]) == TASKS


def test_repeated_creation_delivers_once(
    backend: CloudTasksBackend, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = uuid.uuid4()
    # Not for the emulated cloud, which makes ids in this process, too.
    monkeypatch.setattr(cloud_tasks, "uuid", SimpleNamespace(uuid4=lambda: same))

    backend.enqueue(cancel_execution, ["42"], {})
    backend.enqueue(cancel_execution, ["42"], {})

    arrival = worker.next(path="/internal/tasks/")
    assert arrival.headers["x-cloudtasks-taskname"] == same.hex
    assert not worker.has("/internal/tasks/")


def test_task_that_always_fails_becomes_dead_letter(
    database_queue: DatabaseQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(type(cancel_execution), "call", fail)
        patch.setattr(database_worker, "deliver", deliver)
        attempt = str(uuid.uuid4())
        database_queue.backend.enqueue(cancel_execution, [attempt], {})
        letter = _first_dead_letter()

    assert str(letter) == f'{cancel_execution.module_path}("{attempt}")'
    assert (letter.attempts, letter.error) == (3, "ValueError: a bug")
    assert requeue(letter)
    assert database_queue.next().number == 0


def _first_dead_letter() -> DeadLetter:
    found = until(DeadLetter.objects.first)
    assert found
    return found


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

    assert time.monotonic() - started < 15  # of itself the client goes on for 20 s
