"""A backend for Django's TASKS that puts work on a Cloud Tasks queue.

OPTIONS: `queue` (projects/P/locations/L/queues/Q), `url` (the worker's door), `service_account`
(signs the delivery's ID token) and `audience` (whom it is for). Nothing is kept on our side: a
message names the task and its arguments, and whoever delivers it twice is answered twice.
"""

import datetime as dt
import json
from functools import cache
from typing import Any

from django.core import checks
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import Task, TaskResult, TaskResultStatus
from django.utils import timezone
from google.cloud import tasks_v2
from google.protobuf.timestamp_pb2 import Timestamp

_OPTIONS = ("queue", "url", "service_account", "audience")
# The longest that Cloud Tasks waits for an answer.
_DEADLINE = dt.timedelta(minutes=30)


@cache
def client() -> tasks_v2.CloudTasksClient:
    """Return this process's client. Made late: gRPC channels do not survive a fork."""
    return tasks_v2.CloudTasksClient()


class CloudTasksBackend(BaseTaskBackend):
    """Enqueues; the worker's door (`receive`) calls."""

    supports_defer = True

    def enqueue(self, task: Task[Any, Any], args: Any, kwargs: Any) -> TaskResult[Any, Any]:
        self.validate_task(task)
        created = client().create_task(
            parent=self.options["queue"], task=self._message(task, args, kwargs)
        )
        return TaskResult(
            task=task,
            id=created.name.rpartition("/")[2],
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=list(args),
            kwargs=dict(kwargs),
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        missing = [name for name in _OPTIONS if not self.options.get(name)]
        return [
            checks.Error(f"TASKS[{self.alias!r}]: OPTIONS lacks {name!r}.", id="dispatch.E001")
            for name in missing
        ]

    def _message(self, task: Task[Any, Any], args: Any, kwargs: Any) -> tasks_v2.Task:
        body = {"task": task.module_path, "args": args, "kwargs": kwargs}
        request = tasks_v2.HttpRequest(
            url=self.options["url"],
            http_method=tasks_v2.HttpMethod.POST,
            headers={"Content-Type": "application/json"},
            body=json.dumps(body).encode(),
            oidc_token=tasks_v2.OidcToken(
                service_account_email=self.options["service_account"],
                audience=self.options["audience"],
            ),
        )
        message = tasks_v2.Task(http_request=request, dispatch_deadline=_DEADLINE)
        if task.run_after:
            moment = Timestamp()
            moment.FromDatetime(task.run_after)
            message.schedule_time = moment
        return message
