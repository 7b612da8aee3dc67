"""The Cloud Tasks backend: the created tasks and the time limit."""

import datetime as dt
import json
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.tasks import TaskResult, TaskResultStatus
from django.tasks.signals import task_enqueued
from django.utils import timezone
from google.api_core import exceptions
from google.api_core.retry import Retry
from google.cloud import tasks_v2

from validibot.core.trace import trace_of_run
from validibot.dispatch import cloud_tasks
from validibot.dispatch.backend import enqueue_once
from validibot.dispatch.cloud_tasks import CloudTasksBackend
from validibot.runs.tasks import cancel_execution
from validibot.workflows.fmu import probe_fmu

QUEUE = "projects/p/locations/r/queues/runs"
PARAMS = {
    "OPTIONS": {
        "queue": QUEUE,
        "url": "https://worker.example.run.app/internal/tasks/",
        "service_account": "tasks@p.iam.gserviceaccount.com",
        "audience": "https://worker.example.run.app",
    }
}


class FakeTasksClient:
    def __init__(self) -> None:
        self.tasks: list[tasks_v2.Task] = []
        self.error: Exception | None = None

    def create_task(
        self,
        *,
        parent: str,
        task: tasks_v2.Task,
        retry: Retry,
        timeout: float,
        metadata: tuple[tuple[str, str], ...],
    ) -> None:
        self.metadata = dict(metadata)
        assert task.name.startswith(f"{parent}/tasks/")
        assert (retry, timeout) == (cloud_tasks._retry(), 2.0)
        self.tasks.append(task)
        if self.error:
            raise self.error


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeTasksClient:
    client = FakeTasksClient()
    monkeypatch.setattr(cloud_tasks, "client", lambda: client)
    return client


@pytest.fixture
def backend() -> CloudTasksBackend:
    return CloudTasksBackend("default", PARAMS)


def test_task_with_queue_name_goes_to_that_queue(client: FakeTasksClient) -> None:
    own = "projects/p/locations/r/queues/fmu-probes"
    options = PARAMS["OPTIONS"] | {"queues": {"fmu-probes": own}}
    names = ["default", "fmu-probes"]
    backend = CloudTasksBackend("default", {"QUEUES": names, "OPTIONS": options})

    backend.enqueue(probe_fmu, [1], {})
    backend.enqueue(cancel_execution, ["42"], {})

    assert [task.name.rpartition("/tasks/")[0] for task in client.tasks] == [own, QUEUE]


def test_enqueue_creates_http_task_with_call(
    client: FakeTasksClient, backend: CloudTasksBackend
) -> None:
    result = backend.enqueue(cancel_execution, ["42"], {})

    [task] = client.tasks
    body = {"task": "validibot.runs.tasks.cancel_execution", "args": ["42"], "kwargs": {}}
    assert json.loads(task.http_request.body) == body
    assert task == tasks_v2.Task(
        name=f"{QUEUE}/tasks/{result.id}",
        http_request={
            "url": "https://worker.example.run.app/internal/tasks/",
            "http_method": "POST",
            "headers": {"Content-Type": "application/json"},
            "body": task.http_request.body,
            "oidc_token": {
                "service_account_email": "tasks@p.iam.gserviceaccount.com",
                "audience": "https://worker.example.run.app",
            },
        },
        dispatch_deadline=dt.timedelta(minutes=30),
    )


def test_enqueued_task_carries_the_trace_of_its_run(
    client: FakeTasksClient, backend: CloudTasksBackend
) -> None:
    with trace_of_run(run := uuid4()):
        backend.enqueue(cancel_execution, ["42"], {})

    [task] = client.tasks
    assert run.hex in task.http_request.headers["traceparent"]
    assert run.hex in client.metadata["traceparent"]


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (exceptions.ServiceUnavailable, True),
        (exceptions.DeadlineExceeded, True),
        (exceptions.InternalServerError, True),
        (exceptions.InvalidArgument, False),
    ],
)
def test_enqueue_is_repeated_only_in_outages(
    error: type[exceptions.GoogleAPICallError], repeated: bool
) -> None:
    retry = cloud_tasks._retry()

    assert retry._predicate(error("no")) is repeated
    assert (retry._initial, retry._maximum, retry.timeout) == (0.1, 1.0, 4.0)


def test_enqueued_tasks_are_announced_as_ready(
    client: FakeTasksClient, backend: CloudTasksBackend
) -> None:
    told: list[tuple[object, TaskResult[..., Any]]] = []

    def receive(sender: object, *, task_result: TaskResult[..., Any], **_: object) -> None:
        told.append((sender, task_result))

    task_enqueued.connect(receive)
    try:
        results = [
            backend.enqueue(cancel_execution, ["42"], {}),
            backend.enqueue_once(cancel_execution, ["42"], {}, key="cancel-42-0"),
        ]
    finally:
        task_enqueued.disconnect(receive)

    assert told == [(CloudTasksBackend, result) for result in results]
    for result in results:
        assert result
        assert (result.status, result.backend) == (TaskResultStatus.READY, "default")
        assert (result.task, result.args, result.kwargs) == (cancel_execution, ["42"], {})
        assert (result.started_at, result.finished_at, result.last_attempted_at) == (None,) * 3
        assert (result.errors, result.worker_ids) == ([], [])


def test_run_after_becomes_schedule_time(
    client: FakeTasksClient, backend: CloudTasksBackend
) -> None:
    when = timezone.now() + dt.timedelta(seconds=5)
    later = cancel_execution.using()
    object.__setattr__(later, "run_after", when)  # `using` asks the backend of the settings

    backend.enqueue(later, ["42"], {})

    assert abs((client.tasks[0].schedule_time - when).total_seconds()) < 0.001


def test_enqueue_existing_random_name_succeeds(
    client: FakeTasksClient, backend: CloudTasksBackend
) -> None:
    client.error = exceptions.AlreadyExists("there")  # type: ignore[no-untyped-call]

    assert backend.enqueue(cancel_execution, ["42"], {}).id


def test_enqueue_permission_denied_raises(
    client: FakeTasksClient, backend: CloudTasksBackend
) -> None:
    client.error = exceptions.PermissionDenied("no")  # type: ignore[no-untyped-call]

    with pytest.raises(exceptions.PermissionDenied):
        backend.enqueue(cancel_execution, ["42"], {})


def test_missing_option_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match="service_account"):
        CloudTasksBackend("default", {"OPTIONS": PARAMS["OPTIONS"] | {"service_account": ""}})


def test_check_plain_http_url_is_an_error() -> None:
    plain = {"OPTIONS": PARAMS["OPTIONS"] | {"url": "http://worker/"}}

    (fault,) = CloudTasksBackend("default", plain).check()
    assert fault.msg == "TASKS['default']: the url must be https."
    assert fault.id == "validibot.dispatch.E001"
    assert CloudTasksBackend("default", PARAMS).check() == []


def test_enqueue_once_names_task_after_key(
    client: FakeTasksClient, backend: CloudTasksBackend
) -> None:
    first = backend.enqueue_once(cancel_execution, ["42"], {}, key="cancel-42-0")
    again = backend.enqueue_once(cancel_execution, ["42"], {}, key="cancel-42-0")
    other = backend.enqueue_once(cancel_execution, ["42"], {}, key="cancel-42-1")

    assert first
    assert again
    assert other
    names = [task.name.rpartition("/")[2] for task in client.tasks]
    assert names == [first.id, first.id, other.id]
    assert names[0].endswith("-cancel-42-0")
    assert names[0][:8] != names[2][:8]


def test_enqueue_once_existing_name_adds_nothing(
    client: FakeTasksClient, backend: CloudTasksBackend
) -> None:
    client.error = exceptions.AlreadyExists("there")  # type: ignore[no-untyped-call]

    assert backend.enqueue_once(cancel_execution, ["42"], {}, key="cancel-42-0") is None


@pytest.mark.parametrize("key", ["", "a/b", "a b", "x" * 401])
def test_enqueue_once_invalid_key_raises(backend: CloudTasksBackend, key: str) -> None:
    with pytest.raises(ValueError, match="use 1 to 400 letters"):
        backend.enqueue_once(cancel_execution, ["42"], {}, key=key)


def test_enqueue_once_without_queue_runs_task(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    monkeypatch.setattr(
        type(cancel_execution), "call", lambda _, *args, **more: called.append((args, more))
    )

    assert enqueue_once(cancel_execution, "42", key="cancel-42-0", slow=True)
    assert called == [(("42",), {"slow": True})]
