"""Django's tasks on Cloud Tasks: enqueueing creates a task that posts to the private worker.

Every task has a name, so that a creation whose answer was lost can be repeated without doubt: the
second time the queue says that it exists. Nothing is kept in the database about it; what a task
works on has a state of its own.
"""

import json
import uuid
from contextlib import suppress
from functools import cache
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.tasks import Task, TaskResult
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.signals import task_enqueued
from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.cloud import tasks_v2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from validibot.dispatch.call import as_call, ready_result

OPTIONS = ("queue", "url", "service_account", "audience")
_CALL_SECONDS = 5.0
# The longest that Cloud Tasks waits for an answer before it delivers again.
_DEADLINE_SECONDS = 1800
# Only outages: what Cloud Tasks refuses it would refuse again.
_RETRY = Retry(
    predicate=if_exception_type(
        exceptions.ServiceUnavailable, exceptions.DeadlineExceeded, exceptions.InternalServerError
    ),
    initial=0.1,
    maximum=1.0,
    timeout=10.0,
)


@cache
def client() -> tasks_v2.CloudTasksClient:
    """Return this process's client, made late: gRPC channels do not survive a fork."""
    return tasks_v2.CloudTasksClient()


class CloudTasksBackend(BaseTaskBackend):
    """OPTIONS: `queue` (full name), `url` of the worker's door, the `service_account` as which the
    queue calls it, and the `audience` of its ID token."""

    supports_defer = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        missing = [name for name in OPTIONS if not self.options.get(name)]
        if missing:
            raise ImproperlyConfigured(f"TASKS[{alias!r}]: OPTIONS needs {', '.join(missing)}.")

    @property
    def service_account(self) -> str:
        return str(self.options["service_account"])

    def enqueue[**P, R](
        self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any]
    ) -> TaskResult[P, R]:
        """Raises GoogleAPICallError or RetryError when the queue cannot be reached."""
        self.validate_task(task)
        result = ready_result(task, args, kwargs, pk=uuid.uuid4().hex, backend=self.alias)
        # It exists already when an earlier try was accepted after all.
        with suppress(exceptions.AlreadyExists):
            client().create_task(
                parent=self.options["queue"],
                task=self._message(result),
                retry=_RETRY,
                timeout=_CALL_SECONDS,
            )
        task_enqueued.send(type(self), task_result=result)
        return result

    def _message(self, result: TaskResult[..., Any]) -> tasks_v2.Task:
        call = as_call(result.task, result.args, result.kwargs)
        message = tasks_v2.Task(
            name=f"{self.options['queue']}/tasks/{result.id}",
            http_request=tasks_v2.HttpRequest(
                url=self.options["url"],
                http_method=tasks_v2.HttpMethod.POST,
                headers={"Content-Type": "application/json"},
                body=json.dumps(call).encode(),
                oidc_token=tasks_v2.OidcToken(
                    service_account_email=self.service_account, audience=self.options["audience"]
                ),
            ),
            dispatch_deadline=Duration(seconds=_DEADLINE_SECONDS),
        )
        if result.task.run_after:
            when = Timestamp()
            when.FromDatetime(result.task.run_after)
            message.schedule_time = when
        return message

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        if str(self.options["url"]).startswith("https://"):
            return []
        # https://cloud.google.com/run/docs/triggering/using-tasks: tokens travel only over TLS.
        where = f"TASKS[{self.alias!r}]"
        return [Error(f"{where}: the url must be https.", id="validibot.dispatch.E001")]
