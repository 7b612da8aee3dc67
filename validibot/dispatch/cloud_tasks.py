"""Cloud Tasks backend for django.tasks: enqueueing creates a task that posts to the worker.

Every task has a name, so that a creation whose answer was lost can be repeated: the second time the
queue answers that the task exists. The name is random, or derived from the caller's key so that the
queue holds one entry per key. The database has no rows for entries; the state is in the rows that a
task works on.

An enqueue takes at most four seconds, because a POST request waits for it. The sweep finds a run
whose entry could not be created.

Every `@task` imports this module. Google's libraries are a fifth of what web would import at its
start, so they are imported when the first task is created.
"""

from __future__ import annotations  # Task is generic for type checkers only

import hashlib
import json
import uuid
from functools import cache
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.tasks import Task

from validibot.core.trace import HEADER, traceparent
from validibot.dispatch.backend import QueueBackend, as_call

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud import tasks_v2

OPTIONS = ("queue", "url", "service_account", "audience")
# Time limits of one call and of an enqueue with its retries, also for connecting.
_CALL_SECONDS = 2.0
_ENQUEUE_SECONDS = 4.0
# Cloud Tasks waits at most this long for an answer before it delivers again.
_DEADLINE_SECONDS = 1800


@cache
def client() -> tasks_v2.CloudTasksClient:
    """Return this process's client. It is created late: gRPC channels do not survive a fork."""
    from google.cloud import tasks_v2  # noqa: PLC0415 - see the module's docstring

    return tasks_v2.CloudTasksClient()


@cache
def _retry() -> Retry:
    """Return which errors are retried: outages; an invalid request would be refused again."""
    from google.api_core import exceptions  # noqa: PLC0415 - see the module's docstring
    from google.api_core.retry import Retry, if_exception_type  # noqa: PLC0415 - as above

    return Retry(
        predicate=if_exception_type(
            exceptions.ServiceUnavailable,
            exceptions.DeadlineExceeded,
            exceptions.InternalServerError,
        ),
        initial=0.1,
        maximum=1.0,
        timeout=_ENQUEUE_SECONDS,
    )


class CloudTasksBackend(QueueBackend):
    """Backend that creates tasks in Cloud Tasks queues.

    OPTIONS: `queue` (full name), `url` of the worker's task endpoint, `service_account` that the
    queue uses to call it, and `audience` of its ID token. `queues` has the full names of the queues
    of tasks with a `queue_name` of their own; each other task goes to `queue`.
    """

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        missing = [name for name in OPTIONS if not self.options.get(name)]
        if missing:
            raise ImproperlyConfigured(f"TASKS[{alias!r}]: OPTIONS needs {', '.join(missing)}.")

    @property
    def service_account(self) -> str:
        return str(self.options["service_account"])

    def add(
        self, task: Task[..., Any], args: list[Any], kwargs: dict[str, Any], *, key: str
    ) -> str:
        """Create a task. Raises GoogleAPICallError or RetryError if the queue cannot be reached."""
        from google.api_core.exceptions import AlreadyExists  # noqa: PLC0415 - as above

        task_id = _task_id(key) if key else uuid.uuid4().hex
        try:
            client().create_task(
                parent=self._queue(task),
                task=self._message(task, as_call(task, args, kwargs), task_id),
                retry=_retry(),
                timeout=_CALL_SECONDS,
                metadata=tuple(_trace_headers().items()),
            )
        except AlreadyExists:
            # A random name exists only if an earlier try of this call succeeded.
            return "" if key else task_id
        return task_id

    def _queue(self, task: Task[..., Any]) -> str:
        return str(self.options.get("queues", {}).get(task.queue_name, self.options["queue"]))

    def _message(self, task: Task[..., Any], call: dict[str, Any], task_id: str) -> tasks_v2.Task:
        from google.cloud import tasks_v2  # noqa: PLC0415 - see the module's docstring
        from google.protobuf.duration_pb2 import Duration  # noqa: PLC0415 - as above
        from google.protobuf.timestamp_pb2 import Timestamp  # noqa: PLC0415 - as above

        message = tasks_v2.Task(
            name=f"{self._queue(task)}/tasks/{task_id}",
            http_request=tasks_v2.HttpRequest(
                url=self.options["url"],
                http_method=tasks_v2.HttpMethod.POST,
                headers={"Content-Type": "application/json", **_trace_headers()},
                body=json.dumps(call).encode(),
                oidc_token=tasks_v2.OidcToken(
                    service_account_email=self.service_account, audience=self.options["audience"]
                ),
            ),
            dispatch_deadline=Duration(seconds=_DEADLINE_SECONDS),
        )
        if task.run_after:
            when = Timestamp()
            when.FromDatetime(task.run_after)
            message.schedule_time = when
        return message

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        if str(self.options["url"]).startswith("https://"):
            return []
        # https://cloud.google.com/run/docs/triggering/using-tasks: tokens must only be sent over TLS.
        where = f"TASKS[{self.alias!r}]"
        return [Error(f"{where}: the url must be https.", id="validibot.dispatch.E001")]


def _trace_headers() -> dict[str, str]:
    parent = traceparent()
    return {HEADER: parent} if parent else {}


def _task_id(key: str) -> str:
    """Return a task id for a key, with a hash first: ids with a common prefix are slower."""
    return f"{hashlib.sha256(key.encode()).hexdigest()[:8]}-{key}"
