"""The `TASKS` backend: enqueueing writes a row, in the caller's transaction if there is one."""

from contextlib import nullcontext
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.db import OperationalError, connection, transaction
from django.tasks import Task
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Job
from procrastinate.manager import JobManager
from procrastinate.periodic import PeriodicTask

from validibot.dispatch.backend import QueueBackend, as_call
from validibot.dispatch.database.options import parse
from validibot.dispatch.receive import find_task

# To procrastinate all our tasks are one: what it runs is a delivery, and that names the task.
DELIVER = "deliver"
APPS = ("procrastinate.contrib.django", "validibot.dispatch.database")


class DatabaseBackend(QueueBackend):
    """OPTIONS are those of `validibot.dispatch.database.options.Options`."""

    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self.settings = parse(alias, self.options)
        self.manager = JobManager(DjangoConnector())

    def add(
        self, task: Task[..., Any], args: list[Any], kwargs: dict[str, Any], *, key: str
    ) -> str:
        """Raises OperationalError when the database cannot be reached."""
        job = Job(
            queue=task.queue_name,
            priority=task.priority,
            lock=None,
            queueing_lock=key or None,
            task_name=DELIVER,
            task_kwargs=as_call(task, args, kwargs),
            scheduled_at=task.run_after,
        )
        # The violated index of a second entry must not abort the caller's transaction.
        is_inside = key and connection.in_atomic_block
        try:
            with transaction.atomic() if is_inside else nullcontext():
                return str(self.manager.defer_job(job).id)
        except AlreadyEnqueued:
            return ""
        except ConnectorException as error:
            raise OperationalError(f"The task cannot be put on the queue: {error}") from error

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Say what is wrong with the settings, by name."""
        return [Error(message, id="validibot.dispatch.E002") for message in self._complaints()]

    def _complaints(self) -> list[str]:
        where = f"TASKS[{self.alias!r}]"
        missing = [name for name in APPS if not apps.is_installed(name)]
        said = [f"{where}: add {name!r} to INSTALLED_APPS." for name in missing]
        if connection.vendor != "postgresql":
            said.append(f"{where}: the queue needs PostgreSQL, not {connection.vendor}.")
        for path, due in self.settings.periodic.items():
            if find_task(path) is None:
                said.append(f"{where}: OPTIONS['periodic'] names {path!r}, which is no task.")
            if not _is_crontab(due):
                said.append(f"{where}: OPTIONS['periodic'][{path!r}] is {due!r}: no crontab line.")
        return said


def _is_crontab(line: str) -> bool:
    unused: Any = None
    try:
        # Read by whoever will have to read it.
        return bool(
            PeriodicTask(task=unused, cron=line, periodic_id="", configure_kwargs={}).croniter
        )
    except ValueError:
        return False
