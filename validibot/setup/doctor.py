"""Checks of a deployment: settings, database, migrations, clock, storage, queue, mail, periodic work.

Each check returns what it found and, where something is wrong, the next step. A check that raises is a
check that failed: the others are made all the same.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

from django.conf import settings
from django.core import checks, mail
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.tasks import default_task_backend
from django.utils import timezone

from validibot.core import maintenance
from validibot.core.models import ScheduledWork
from validibot.core.scheduled_work import is_overdue
from validibot.core.storage import get_storage
from validibot.dispatch.models import DeadLetter
from validibot.runs.models import Run
from validibot.runs.states import RunStatus
from validibot.workflows.models import Validator

# PostgreSQL 13 is the oldest version that the migrations are tested with.
OLDEST_DATABASE = 130_000
MAX_CLOCK_DIFFERENCE = 5.0
# A run that waits so long for a worker says that no worker takes tasks.
MAX_WAITING = dt.timedelta(minutes=10)

type State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of a check; `action` says what to do, unless the state is ok."""

    name: str
    state: State
    detail: str
    action: str = ""


def check_deployment() -> Iterator[CheckReport]:
    """Make all checks."""
    for name, check, action in _CHECKS:
        try:
            yield check()
        except Exception as error:  # noqa: BLE001 - of a driver, a network, a client of a cloud
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            yield CheckReport(name, "failed", text, action)


def _settings() -> CheckReport:
    found = checks.run_checks(include_deployment_checks=not settings.DEBUG, databases=["default"])
    serious = [each for each in found if each.level >= checks.WARNING and not each.is_silenced()]
    errors = [each for each in serious if each.is_serious()]
    if not serious:
        return CheckReport("settings", "ok", "All checks of settings pass.")
    first = (errors or serious)[0]
    return CheckReport(
        "settings",
        "failed" if errors else "warning",
        f"{len(errors)} errors, {len(serious) - len(errors)} warnings: {first.msg}",
        str(first.hint or "") or "`manage.py check --deploy` lists all of them.",
    )


def _database() -> CheckReport:
    connection.ensure_connection()
    version = connection.pg_version  # type: ignore[attr-defined]  # of PostgreSQL's wrapper
    text = f"PostgreSQL {version // 10_000}.{version % 10_000}"
    if version < OLDEST_DATABASE:
        return CheckReport("database", "failed", text, "Use PostgreSQL 13 or a newer version.")
    return CheckReport("database", "ok", text)


def _migrations() -> CheckReport:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        first = plan[0][0]
        text = f"{len(plan)} migrations are not applied, the first is {first}."
        return CheckReport("migrations", "failed", text, "Run `manage.py release`.")
    return CheckReport("migrations", "ok", "All migrations are applied.")


def _clock() -> CheckReport:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        theirs: dt.datetime = cursor.fetchone()[0]
    seconds = abs((timezone.now() - theirs).total_seconds())
    text = f"The clocks of this machine and of the database differ by {seconds:.1f} s."
    if seconds > MAX_CLOCK_DIFFERENCE:
        return CheckReport("clock", "failed", text, "Let both machines set their time by NTP.")
    return CheckReport("clock", "ok", text)


def _storage() -> CheckReport:
    uri = f"{settings.DATA_ROOT}/doctor/{uuid4().hex}"
    storage, content = get_storage(uri), b"doctor"
    storage.create(uri, content, mime_type="text/plain")
    try:
        if storage.read(uri, limit=100) != content:
            text = "A file has another content when it is read."
            return CheckReport("storage", "failed", text, "Check the storage below DATA_ROOT.")
    finally:
        storage.delete(uri)
    return CheckReport(
        "storage", "ok", f"Files are written, read and deleted at {settings.DATA_ROOT}."
    )


def _queue() -> CheckReport:
    kind = type(default_task_backend).__name__
    since = timezone.now() - MAX_WAITING
    # Held runs wait for another run of their organisation, not for a worker.
    queued = Run.objects.filter(status=RunStatus.PENDING, held_at=None)
    waiting = queued.filter(enqueued_at__lt=since).count()
    if waiting:
        return CheckReport(
            "queue",
            "failed",
            f"{waiting} runs have waited for a worker for more than 10 minutes ({kind}).",
            "Start a worker, and look into its log. `manage.py queue list` shows the queue.",
        )
    if dead := DeadLetter.objects.count():
        return CheckReport(
            "queue",
            "warning",
            f"{dead} tasks failed too often and are dead letters.",
            "`manage.py queue dead` lists them with their errors, `requeue` tries them again.",
        )
    return CheckReport(
        "queue", "ok", f"No run waits for long, and there is no dead letter ({kind})."
    )


def _mail() -> CheckReport:
    backend = mail.mailers.default
    kind = type(backend).__module__
    # Backends that speak HTTP (anymail) open a session only, which asks nobody.
    backend.open()
    backend.close()
    return CheckReport("mail", "ok", f"The mail backend opens a connection ({kind}).")


def _periodic_work() -> CheckReport:
    now, action = timezone.now(), "Is the scheduler running? The admin site shows Periodic work."
    rows = {row.name: row for row in ScheduledWork.objects.all()}
    faults = [
        f"{name} failed: {row.error}" if row.error else f"{name} is overdue"
        for name, row in rows.items()
        if row.error or is_overdue(row, now)
    ]
    never = [
        each["name"]
        for each in settings.SCHEDULES
        if each["name"] not in rows or rows[each["name"]].started_at is None
    ]
    if faults:
        return CheckReport("periodic work", "failed", "; ".join(faults), action)
    if never:
        text = f"Never ran here: {', '.join(never)}."
        return CheckReport("periodic work", "warning", text, action)
    return CheckReport("periodic work", "ok", "All periodic work ran in time.")


def _validators() -> CheckReport:
    count = Validator.objects.filter(is_active=True, organisation=None).count()
    if not count:
        action = "Run `manage.py setup_all`."
        return CheckReport("validators", "failed", "The catalogue has no validator.", action)
    return CheckReport("validators", "ok", f"The catalogue has {count} active validators.")


def _maintenance() -> CheckReport:
    if maintenance.is_on():
        text = "This deployment is closed for maintenance."
        return CheckReport("maintenance", "warning", text, "Run `manage.py maintenance off`.")
    return CheckReport("maintenance", "ok", "This deployment is open.")


_CHECKS: tuple[tuple[str, Callable[[], CheckReport], str], ...] = (
    ("settings", _settings, "Run `manage.py check --deploy`."),
    ("database", _database, "Is DATABASE_URL right, and does the server accept connections?"),
    ("migrations", _migrations, "Run `manage.py release`."),
    ("clock", _clock, "Solve the problem of the database first."),
    ("storage", _storage, "Is DATA_ROOT right, and may this account write there?"),
    ("queue", _queue, "Solve the problem of the database first."),
    ("mail", _mail, "Are EMAIL_HOST, EMAIL_PORT, EMAIL_USER and EMAIL_PASSWORD right?"),
    ("periodic work", _periodic_work, "Solve the problem of the database first."),
    ("validators", _validators, "Solve the problem of the database first."),
    ("maintenance", _maintenance, "Solve the problem of the database first."),
)
