"""The `TASKS` backend of the database queue: enqueueing writes a row in the caller's transaction.

Procrastinate knows one task only, `deliver`; the row's arguments are the body of a Cloud Tasks
delivery, and `validibot.dispatch.delivery` runs both. The options are validated when Django starts;
`check` validates what needs the loaded apps: the periodic tasks and the installed apps.
"""

from contextlib import nullcontext
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection, transaction
from django.tasks import Task
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from procrastinate.periodic import PeriodicTask
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError

from validibot.dispatch.backend import QueueBackend, as_call
from validibot.dispatch.delivery import find_task

DELIVER = "deliver"
APPS = ("procrastinate.contrib.django", "validibot.dispatch.database")


class QueueOptions(BaseModel):
    """OPTIONS of the backend. Attempts and backoff mean the same as for a Cloud Tasks queue."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    # A worker without a heartbeat for this time counts as dead, and its tasks are freed.
    lease_seconds: PositiveFloat = 20
    # How often a worker polls; a new entry that is due wakes it earlier.
    poll_seconds: PositiveFloat = 1
    max_attempts: PositiveInt = 30
    min_backoff: PositiveFloat = 1
    max_backoff: PositiveFloat = 60
    # Dotted path of a task → crontab line.
    periodic: dict[str, str] = {}

    @property
    def heartbeat_seconds(self) -> float:
        return self.lease_seconds / 4


class DatabaseBackend(QueueBackend):
    """Backend that stores tasks as procrastinate jobs; `manage.py queue_worker` runs them."""

    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        try:
            self.settings = QueueOptions.model_validate(self.options)
        except ValidationError as error:
            faults = (f"[{fault['loc'][0]!r}]: {fault['msg']}" for fault in error.errors())
            raise ImproperlyConfigured(f"TASKS[{alias!r}]: OPTIONS{'; '.join(faults)}.") from None
        self.max_attempts = self.settings.max_attempts
        self.manager = JobManager(DjangoConnector())

    def add(
        self, task: Task[..., Any], args: list[Any], kwargs: dict[str, Any], *, key: str
    ) -> str:
        """Add a row. Raises OperationalError if the database cannot be reached."""
        job = Job(
            queue=task.queue_name,
            priority=task.priority,
            lock=None,
            queueing_lock=key or None,
            task_name=DELIVER,
            task_kwargs=as_call(task, args, kwargs),
            scheduled_at=task.run_after,
        )
        # A second entry violates an index, which must not abort the caller's transaction.
        is_inside = key and connection.in_atomic_block
        try:
            with transaction.atomic() if is_inside else nullcontext():
                return str(self.manager.defer_job(job).id)
        except AlreadyEnqueued:
            return ""
        except ConnectorException as error:
            raise OperationalError(f"The task cannot be put on the queue: {error}") from error

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        return [
            Error(f"TASKS[{self.alias!r}]: {fault}", id="validibot.dispatch.E002")
            for fault in self._faults()
        ]

    def _faults(self) -> list[str]:
        faults = [
            f"add {name!r} to INSTALLED_APPS." for name in APPS if not apps.is_installed(name)
        ]
        if connection.vendor != "postgresql":
            faults.append(f"the queue needs PostgreSQL, not {connection.vendor}.")
        for path, due in self.settings.periodic.items():
            if find_task(path) is None:
                faults.append(f"OPTIONS['periodic'] names {path!r}, which is not a task.")
            if not _is_crontab(due):
                faults.append(
                    f"OPTIONS['periodic'][{path!r}] is {due!r}, which is not a crontab line."
                )
        return faults


def _is_crontab(line: str) -> bool:
    """Return whether procrastinate can read a crontab line."""
    unused: Any = None
    try:
        return bool(
            PeriodicTask(task=unused, cron=line, periodic_id="", configure_kwargs={}).croniter
        )
    except ValueError:
        return False
