"""What is asked of Cloud Tasks when a task is enqueued."""

import datetime as dt
import json
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from google.api_core import exceptions
from google.cloud import tasks_v2

from validibot.dispatch import cloud_tasks
from validibot.dispatch.cloud_tasks import CloudTasksBackend
from validibot.runs.tasks import cancel_execution

QUEUE = "projects/p/locations/r/queues/runs"
PARAMS = {
    "OPTIONS": {
        "queue": QUEUE,
        "url": "https://worker.example.run.app/internal/tasks/",
        "service_account": "tasks@p.iam.gserviceaccount.com",
        "audience": "https://worker.example.run.app",
    }
}


class Client:
    def __init__(self) -> None:
        self.tasks: list[tasks_v2.Task] = []
        self.error: Exception | None = None

    def create_task(self, *, parent: str, task: tasks_v2.Task, **_: Any) -> None:
        assert parent == QUEUE
        self.tasks.append(task)
        if self.error:
            raise self.error


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(cloud_tasks, "client", lambda: client)
    return client


@pytest.fixture
def backend() -> CloudTasksBackend:
    return CloudTasksBackend("default", PARAMS)


def test_a_task_posts_its_call_to_the_worker(client: Client, backend: CloudTasksBackend) -> None:
    result = backend.enqueue(cancel_execution, ["42"], {})

    [task] = client.tasks
    assert task.name == f"{QUEUE}/tasks/{result.id}"
    assert task.http_request.url == "https://worker.example.run.app/internal/tasks/"
    assert task.http_request.oidc_token.audience == "https://worker.example.run.app"
    assert json.loads(task.http_request.body) == {
        "task": "validibot.runs.tasks.cancel_execution",
        "args": ["42"],
        "kwargs": {},
    }


def test_a_task_can_wait(client: Client, backend: CloudTasksBackend) -> None:
    when = timezone.now() + dt.timedelta(seconds=5)
    later = cancel_execution.using()
    object.__setattr__(later, "run_after", when)  # `using` asks the backend of the settings

    backend.enqueue(later, ["42"], {})

    assert abs((client.tasks[0].schedule_time - when).total_seconds()) < 0.001


def test_a_task_that_exists_was_created_by_an_earlier_try(
    client: Client, backend: CloudTasksBackend
) -> None:
    client.error = exceptions.AlreadyExists("there")  # type: ignore[no-untyped-call]

    assert backend.enqueue(cancel_execution, ["42"], {}).id


def test_a_queue_that_refuses_is_not_silent(client: Client, backend: CloudTasksBackend) -> None:
    client.error = exceptions.PermissionDenied("no")  # type: ignore[no-untyped-call]

    with pytest.raises(exceptions.PermissionDenied):
        backend.enqueue(cancel_execution, ["42"], {})


def test_a_missing_option_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match="service_account"):
        CloudTasksBackend("default", {"OPTIONS": PARAMS["OPTIONS"] | {"service_account": ""}})


def test_tokens_are_sent_over_tls_only() -> None:
    plain = {"OPTIONS": PARAMS["OPTIONS"] | {"url": "http://worker/"}}

    assert [message.id for message in CloudTasksBackend("default", plain).check()]
