"""The database queue: its entries, orphans, options, commands and admin pages."""

import asyncio
import datetime as dt
import re
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from pytest_django import Settings

from tests.factories import UserFactory
from validibot.dispatch.backend import enqueue_once
from validibot.dispatch.database.backend import DatabaseBackend, QueueOptions
from validibot.dispatch.database.jobs import free_orphans
from validibot.dispatch.database.management.commands import queue_worker
from validibot.dispatch.database.models import QueuedTask
from validibot.dispatch.database.worker import JitteredBackoff
from validibot.dispatch.models import DeadLetter
from validibot.runs.tasks import cancel_execution
from validibot.workflows.fmu import probe_fmu

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
DATABASE_QUEUE = {"default": {"BACKEND": "validibot.dispatch.database.backend.DatabaseBackend"}}
CALL = 'validibot.runs.tasks.cancel_execution("42")'


def enqueued(**changes: Any) -> QueuedTask:
    """Enqueue a task and return its row with `changes`."""
    result = DatabaseBackend("default", {}).enqueue(cancel_execution, ["42"], {})
    QueuedTask.objects.filter(pk=result.id).update(**changes)
    return QueuedTask.objects.get(pk=result.id)


def worker(*, silent: float) -> int:
    """Return the id of a worker whose last heartbeat was `silent` seconds ago."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_workers (last_heartbeat)"
            " VALUES (now() - make_interval(secs => %s)) RETURNING id",
            [silent],
        )
        return int(cursor.fetchone()[0])


def test_enqueued_task_waits_with_path_and_arguments() -> None:
    task = enqueued()

    assert str(task) == CALL
    assert (task.state, task.attempts) == ("waiting", 0)


def test_task_with_queue_name_waits_in_that_queue() -> None:
    queues = ["default", probe_fmu.queue_name]
    result = DatabaseBackend("default", {"QUEUES": queues}).enqueue(probe_fmu, [1], {})

    assert ProcrastinateJob.objects.get(pk=result.id).queue_name == "fmu-probes"


def test_deferred_task_waits_for_its_time_with_priority() -> None:
    later = timezone.now() + dt.timedelta(hours=1)
    task = cancel_execution.using(priority=7)
    object.__setattr__(task, "run_after", later)  # `using` asks the backend of the settings
    result = DatabaseBackend("default", {}).enqueue(task, ["42"], {"slow": True})

    row = QueuedTask.objects.get(pk=result.id)

    assert (row.scheduled_at, row.priority) == (later, 7)
    assert str(row) == 'validibot.runs.tasks.cancel_execution("42", slow=true)'


def test_enqueue_is_rolled_back_with_its_transaction() -> None:
    with transaction.atomic():
        enqueued()
        transaction.set_rollback(True)

    assert not QueuedTask.objects.exists()


def test_enqueue_unreachable_database_raises_operational_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = DatabaseBackend("default", {})

    def fail(_: object) -> None:
        raise ConnectorException("gone")

    monkeypatch.setattr(backend.manager, "defer_job", fail)
    with pytest.raises(OperationalError, match="put on the queue: gone"):
        backend.enqueue(cancel_execution, ["42"], {})


def enqueued_once(key: str) -> QueuedTask | None:
    result = DatabaseBackend("default", {}).enqueue_once(cancel_execution, ["42"], {}, key=key)
    return QueuedTask.objects.get(pk=result.id) if result else None


def test_enqueue_once_waiting_key_adds_nothing() -> None:
    with transaction.atomic():
        assert enqueued_once("cancel-42-0")
        assert enqueued_once("cancel-42-0") is None
        assert enqueued_once("cancel-42-1")

    assert QueuedTask.objects.count() == 2


def test_enqueue_once_tells_whether_it_added_an_entry(settings: Settings) -> None:
    settings.TASKS = DATABASE_QUEUE

    assert [enqueue_once(cancel_execution, each, key="k") for each in "12"] == [True, False]
    assert str(QueuedTask.objects.get()) == 'validibot.runs.tasks.cancel_execution("1")'


@pytest.mark.parametrize("status", ["doing", "failed"])
def test_enqueue_once_taken_key_can_be_used_again(status: str) -> None:
    first = enqueued_once("cancel-42-0")
    assert first
    QueuedTask.objects.filter(pk=first.pk).update(status=status, attempts=30)

    assert enqueued_once("cancel-42-0")


def test_freed_task_is_deleted_if_its_key_waits_again() -> None:
    held = enqueued_once("held")
    assert held
    QueuedTask.objects.filter(pk=held.pk).update(status="doing")
    waiting = enqueued_once("held")

    assert free_orphans(QueueOptions()) == [held.pk]

    assert list(QueuedTask.objects.all()) == [waiting]


def test_free_orphans_frees_tasks_of_silent_workers_only() -> None:
    options = QueueOptions()
    alive = enqueued(status="doing", worker=worker(silent=options.lease_seconds - 5))
    silent = enqueued(status="doing", worker=worker(silent=options.lease_seconds + 5))
    unknown = enqueued(status="doing")
    waiting = enqueued()

    assert free_orphans(options) == [silent.pk, unknown.pk]

    states = {task.pk: task.state for task in QueuedTask.objects.all()}
    assert states == dict.fromkeys([silent.pk, unknown.pk, waiting.pk], "waiting") | {
        alive.pk: "running"
    }
    assert free_orphans(options) == []


def test_task_that_kills_workers_becomes_dead_letter() -> None:
    task = enqueued(status="doing", attempts=2)

    free_orphans(QueueOptions(max_attempts=3))

    assert not QueuedTask.objects.exists()
    letter = DeadLetter.objects.get()
    assert (str(letter), letter.task_id, letter.attempts) == (CALL, str(task.pk), 3)
    assert letter.error == "The worker died while the task ran."


def test_default_options_replace_killed_worker_within_30_seconds(settings: Settings) -> None:
    options = QueueOptions()

    assert options.lease_seconds + options.heartbeat_seconds + options.poll_seconds <= 30
    # The next worker finds the run's own lease expired.
    assert options.lease_seconds > settings.RUN_LEASE_SECONDS
    # A heartbeat may be lost, and another come late.
    assert options.lease_seconds >= 3 * options.heartbeat_seconds


def test_backoff_doubles_up_to_its_limit_with_jitter() -> None:
    backoff = JitteredBackoff(QueueOptions())

    def seconds(attempts: int) -> float:
        job = Job(task_name="", queue="", lock=None, queueing_lock=None, attempts=attempts)
        decision = backoff.get_retry_decision(exception=ValueError(), job=job)
        assert decision.retry_at
        return (decision.retry_at - timezone.now()).total_seconds()

    waits = [seconds(attempts) for attempts in range(30)]

    longest = [min(2**exponent, 60) for exponent in range(30)]
    assert all(most / 2 - 1 <= each <= most for each, most in zip(waits, longest, strict=True))
    assert len(set(waits)) == 30
    assert sum(longest) > 20 * 60, "an outage of twenty minutes makes no dead letter"


def test_task_put_back_on_shutdown_is_retried_at_once() -> None:
    job = Job(task_name="", queue="", lock=None, queueing_lock=None, attempts=20)
    backoff = JitteredBackoff(QueueOptions())

    with time_machine.travel(NOW, tick=False):
        decision = backoff.get_retry_decision(exception=asyncio.CancelledError(), job=job)

    assert decision.retry_at == NOW


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lease": 5}, r"TASKS\['default'\]: OPTIONS\['lease'\]: Extra inputs are not permitted"),
        ({"poll_seconds": 0}, r"OPTIONS\['poll_seconds'\]: Input should be greater than 0"),
        ({"max_attempts": "3"}, r"OPTIONS\['max_attempts'\]: Input should be a valid integer"),
        ({"lease_seconds": True}, r"OPTIONS\['lease_seconds'\]: Input should be a valid number"),
        ({"periodic": ["x"]}, r"OPTIONS\['periodic'\]: Input should be a valid dictionary"),
    ],
)
def test_invalid_option_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        DatabaseBackend("default", {"OPTIONS": given})


def faults(**options: Any) -> list[str]:
    found = DatabaseBackend("default", {"OPTIONS": options}).check()
    assert {error.id for error in found} <= {"validibot.dispatch.E002"}
    return [str(error.msg) for error in found]


def test_check_shipped_settings_finds_no_fault() -> None:
    assert faults(periodic={"validibot.runs.tasks.sweep": "* * * * *"}) == []


def test_check_names_unknown_periodic_task_and_bad_crontab() -> None:
    [fault] = faults(periodic={"validibot.runs.sweep": "* * * * *"})
    assert fault.endswith("OPTIONS['periodic'] names 'validibot.runs.sweep', which is not a task.")

    [fault] = faults(periodic={"validibot.runs.tasks.sweep": "at noon"})
    assert "is 'at noon', which is not a crontab line" in fault


def test_check_names_missing_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: not name.startswith("procrastinate"))

    assert faults() == ["TASKS['default']: add 'procrastinate.contrib.django' to INSTALLED_APPS."]


def test_check_names_other_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")

    assert faults() == ["TASKS['default']: the queue needs PostgreSQL, not sqlite."]


def dead_letter(task_id: str = "7") -> DeadLetter:
    return DeadLetter.objects.create(
        task_id=task_id,
        task="validibot.runs.tasks.cancel_execution",
        args=["42"],
        attempts=30,
        error="ValueError: no\nx",
    )


def listed(verb: str, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Return the cells of the lines that the command prints."""
    call_command("queue", verb)
    return [re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines()]


def test_queue_command_lists_tasks_and_dead_letters(capsys: pytest.CaptureFixture[str]) -> None:
    waiting, dead = enqueued(), dead_letter()

    assert listed("list", capsys) == [
        ["ID", "STATE", "ATTEMPTS", "TASK"],
        [str(waiting.pk), "waiting", "0", CALL],
    ]
    assert listed("dead", capsys) == [
        ["ID", "ATTEMPTS", "TASK", "ERROR"],
        [str(dead.pk), "30", CALL, "ValueError: no"],
    ]


def test_queue_command_tells_how_many_it_does_not_list(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validibot.dispatch.management.commands.queue._MAX_ROWS", 2)
    for number in range(5):
        enqueued()
        dead_letter(str(number))

    for verb in ("list", "dead"):
        assert listed(verb, capsys)[3:] == [["… and 3 more"]]


def test_queue_command_without_database_queue_names_gcloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda _: False)

    message = (
        "Only the database queue can list its tasks. For Cloud Tasks run `gcloud tasks list --q"
    )
    with pytest.raises(CommandError, match=message):
        call_command("queue", "list")


def test_queue_command_requeues_dead_letter_by_id(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.TASKS = DATABASE_QUEUE
    dead = dead_letter()

    call_command("queue", "requeue", str(dead.pk))

    assert capsys.readouterr().out == "1 task requeued.\n"
    assert str(QueuedTask.objects.get()) == CALL
    with pytest.raises(
        CommandError, match=f"No dead letter has the id {dead.pk}; `manage.py queue"
    ):
        call_command("queue", "requeue", str(dead.pk))


def test_queue_command_names_task_that_this_version_lacks() -> None:
    dead = dead_letter()
    DeadLetter.objects.update(task="validibot.runs.tasks.gone")

    message = r'^This version has no such task: validibot\.runs\.tasks\.gone\("42"\)$'
    with pytest.raises(CommandError, match=message):
        call_command("queue", "requeue", str(dead.pk))

    assert DeadLetter.objects.exists()


def test_queue_command_requeues_all_dead_letters(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.TASKS = DATABASE_QUEUE
    for number in range(3):
        dead_letter(str(number))

    call_command("queue", "requeue", "--all")

    assert capsys.readouterr().out == "3 tasks requeued.\n"
    assert QueuedTask.objects.count() == 3
    assert not DeadLetter.objects.exists()


def test_admin_lists_tasks_and_requeues_dead_letters(client: Client, settings: Settings) -> None:
    settings.TASKS = DATABASE_QUEUE
    client.force_login(UserFactory.create(is_staff=True, is_superuser=True))
    waiting, dead = enqueued(), dead_letter()

    listed = client.get("/admin/queue/queuedtask/", {"status": "todo"}).content.decode()
    assert f"/admin/queue/queuedtask/{waiting.pk}/" in listed

    page = "/admin/dispatch/deadletter/"
    assert client.get(f"{page}{dead.pk}/change/").status_code == 200
    chosen = {"action": "requeue", "_selected_action": [dead.pk]}
    answer = client.post(page, chosen, follow=True).content.decode()
    assert "The tasks are on the queue again." in answer
    assert QueuedTask.objects.count() == 2


def test_queue_worker_without_database_queue_is_refused() -> None:
    with pytest.raises(CommandError, match="TASKS\\['default'\\] is ImmediateBackend"):
        call_command("queue_worker")


def test_queue_worker_concurrency_above_pool_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TASKS = DATABASE_QUEUE
    options = connection.settings_dict["OPTIONS"] | {"pool": {"max_size": 20}}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)

    message = "--concurrency 19 needs 21 connections, but the pool has 20. Set DATABASE_POOL to 21,"
    with pytest.raises(CommandError, match=message):
        call_command("queue_worker", "--concurrency", "19")
    queue_worker._check_pool(18)  # fits
    options["pool"] = {}
    queue_worker._check_pool(100)  # no pool, no limit


@pytest.mark.parametrize("number", ["0", "101"])
def test_queue_worker_concurrency_out_of_range_is_refused(number: str) -> None:
    assert [queue_worker._one_to_hundred(text) for text in ("1", "100")] == [1, 100]
    with pytest.raises(CommandError, match=f"{number} is not between 1 and 100"):
        call_command("queue_worker", "--concurrency", number)
