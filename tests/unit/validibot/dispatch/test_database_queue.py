"""The queue in the database: what its rows say, who may end them, and what is wrong with settings."""

from typing import Any

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, transaction
from django.test import Client
from procrastinate.exceptions import ConnectorException
from pytest_django import Settings

from tests.factories import UserFactory
from validibot.dispatch.database.backend import DatabaseBackend
from validibot.dispatch.database.models import QueuedTask
from validibot.dispatch.database.options import Options, parse
from validibot.dispatch.database.upkeep import (
    MAX_ERROR_CHARACTERS,
    note_failure,
    requeue,
    take_over,
)
from validibot.runs.tasks import cancel_execution

pytestmark = pytest.mark.django_db


def enqueued(**changes: Any) -> QueuedTask:
    """Return a task's row as it would be after `changes`."""
    result = DatabaseBackend("default", {}).enqueue(cancel_execution, ["42"], {})
    QueuedTask.objects.filter(pk=result.id).update(**changes)
    return QueuedTask.objects.get(pk=result.id)


def worker(*, silent: float) -> int:
    """Return the id of a worker that gave a sign of life `silent` seconds ago."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO procrastinate_workers (last_heartbeat)"
            " VALUES (now() - make_interval(secs => %s)) RETURNING id",
            [silent],
        )
        return int(cursor.fetchone()[0])


def test_a_task_waits_with_its_path_and_its_arguments() -> None:
    task = enqueued()

    assert (task.task, task.arguments) == ("validibot.runs.tasks.cancel_execution", '("42")')
    assert (task.state, task.attempts, task.error) == ("waiting", 0, "")


def test_a_task_is_rolled_back_with_what_enqueued_it() -> None:
    with transaction.atomic():
        enqueued()
        transaction.set_rollback(True)

    assert not QueuedTask.objects.exists()


def test_a_queue_that_cannot_be_reached_is_a_database_that_cannot(
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


@pytest.mark.parametrize("status", ["doing", "failed"])
def test_enqueue_once_taken_key_can_be_used_again(status: str) -> None:
    first = enqueued_once("cancel-42-0")
    assert first
    QueuedTask.objects.filter(pk=first.pk).update(status=status, attempts=30)

    assert enqueued_once("cancel-42-0")


def test_freed_task_is_deleted_if_its_key_waits_again() -> None:
    held, dead = enqueued_once("held"), enqueued_once("dead")
    assert held
    assert dead
    QueuedTask.objects.filter(pk=held.pk).update(status="doing")
    QueuedTask.objects.filter(pk=dead.pk).update(status="failed")
    waiting = [enqueued_once("held"), enqueued_once("dead")]

    take_over(Options())
    requeue([dead.pk])

    assert list(QueuedTask.objects.all()) == waiting
    assert set(QueuedTask.objects.values_list("status", flat=True)) == {"todo"}


def test_only_the_tasks_of_silent_workers_are_taken_over() -> None:
    options = Options()
    alive = enqueued(status="doing", worker=worker(silent=options.lease_seconds - 5))
    silent = enqueued(status="doing", worker=worker(silent=options.lease_seconds + 5))
    unknown = enqueued(status="doing")
    waiting = enqueued()

    assert take_over(options) == [silent.pk, unknown.pk]

    states = {task.pk: task.state for task in QueuedTask.objects.all()}
    assert states == dict.fromkeys([silent.pk, unknown.pk, waiting.pk], "waiting") | {
        alive.pk: "running"
    }
    assert take_over(options) == []


def test_a_task_that_ends_every_worker_is_dead_in_the_end() -> None:
    options = Options(max_attempts=3)
    task = enqueued(status="doing", attempts=2)

    take_over(options)

    task.refresh_from_db()
    assert (task.state, task.attempts) == ("dead", 3)
    assert "Its worker died" in task.error


def test_a_failure_is_noted_beside_the_arguments_and_bounded() -> None:
    task = enqueued(status="doing")

    note_failure(task.pk, task.args, "x" * 10_000)

    task.refresh_from_db()
    assert task.error == "x" * MAX_ERROR_CHARACTERS
    assert task.arguments == '("42")'


def test_a_dead_task_gets_all_its_attempts_anew_and_no_other_does() -> None:
    dead = enqueued(status="failed", attempts=30)
    running = enqueued(status="doing", attempts=2)

    assert requeue([dead.pk, running.pk, 0]) == 1

    dead.refresh_from_db()
    assert (dead.state, dead.attempts) == ("waiting", 0)


def test_a_killed_worker_is_replaced_within_a_minute_with_the_settings_we_ship(
    settings: Settings,
) -> None:
    options = Options()

    assert options.takeover_seconds <= 30
    # Whoever takes the task over finds the run free, so that no backoff comes on top.
    assert options.lease_seconds > settings.RUN_LEASE_SECONDS
    # A heartbeat may be lost, and another come late.
    assert options.lease_seconds >= 3 * options.beat_seconds


def test_waiting_doubles_up_to_its_limit_and_no_two_wait_alike() -> None:
    options = Options()

    seconds = [options.backoff(attempts).total_seconds() for attempts in range(1, 31)]

    longest = [min(2**exponent, 60) for exponent in range(30)]
    assert all(most / 2 <= each <= most for each, most in zip(seconds, longest, strict=True))
    assert len(set(seconds)) == 30
    assert sum(longest) > 20 * 60, "an outage of twenty minutes kills no task"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lease": 5}, r"TASKS\['default'\]: OPTIONS has lease; it takes lease_seconds, max_"),
        ({"poll_seconds": 0}, r"OPTIONS\['poll_seconds'\] is 0; it must be a number above 0"),
        ({"max_attempts": "3"}, r"OPTIONS\['max_attempts'\] is '3'"),
        ({"lease_seconds": True}, r"OPTIONS\['lease_seconds'\] is True"),
        ({"periodic": ["x"]}, r"OPTIONS\['periodic'\] is \['x'\]"),
    ],
)
def test_a_wrong_option_is_refused_by_name(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        parse("default", given)


def complaints(**options: Any) -> list[str]:
    return [str(said.msg) for said in DatabaseBackend("default", {"OPTIONS": options}).check()]


def test_what_is_wired_as_we_ship_it_is_right() -> None:
    assert complaints(periodic={"validibot.runs.reconcile.sweep": "* * * * *"}) == []


def test_a_periodic_task_that_is_none_and_a_time_that_never_comes_are_named() -> None:
    [said] = complaints(periodic={"validibot.runs.sweep": "* * * * *"})
    assert said.endswith("OPTIONS['periodic'] names 'validibot.runs.sweep', which is no task.")

    [said] = complaints(periodic={"validibot.runs.reconcile.sweep": "at noon"})
    assert "is 'at noon': no crontab line" in said


def test_a_missing_app_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: not name.startswith("procrastinate"))

    assert complaints() == [
        "TASKS['default']: add 'procrastinate.contrib.django' to INSTALLED_APPS."
    ]


def test_another_database_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")

    assert complaints() == ["TASKS['default']: the queue needs PostgreSQL, not sqlite."]


def test_the_queue_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    waiting, dead = enqueued(), enqueued(status="failed", attempts=30)
    note_failure(dead.pk, dead.args, "never noted: it does not run")
    QueuedTask.objects.filter(pk=dead.pk).update(args=dead.args | {"error": "ValueError: no\nx"})

    call_command("queue", "list")
    call_command("queue", "dead")

    written = capsys.readouterr().out
    call = 'validibot.runs.tasks.cancel_execution("42")'
    rows = [line.split() for line in written.splitlines()]
    assert [str(waiting.pk), "waiting", "0", call] in rows
    assert [str(dead.pk), "30", call, "ValueError:", "no"] in rows


def test_a_dead_task_is_requeued_by_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    dead = enqueued(status="failed", attempts=30)

    call_command("queue", "requeue", str(dead.pk))

    assert capsys.readouterr().out == "1 task waits again.\n"
    with pytest.raises(CommandError, match=f"No dead task has the id {dead.pk}; `manage.py queue"):
        call_command("queue", "requeue", str(dead.pk))


def test_all_dead_tasks_are_requeued(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        enqueued(status="failed")

    call_command("queue", "requeue", "--all")

    assert capsys.readouterr().out == "3 tasks wait again.\n"
    assert set(QueuedTask.objects.values_list("status", flat=True)) == {"todo"}


def test_dead_tasks_are_found_and_requeued_in_the_admin_site(client: Client) -> None:
    client.force_login(UserFactory.create(is_staff=True, is_superuser=True))
    dead, waiting = enqueued(status="failed"), enqueued()
    page = "/admin/queue/queuedtask/"

    listed = client.get(page, {"state": "failed"}).content.decode()
    assert f"{page}{dead.pk}/" in listed
    assert f"{page}{waiting.pk}/" not in listed

    chosen = {"action": "requeue", "_selected_action": [dead.pk, waiting.pk]}
    answer = client.post(page, chosen, follow=True).content.decode()
    assert "1 of 2 tasks were dead and wait again." in answer
    assert client.get(f"{page}{dead.pk}/change/").status_code == 200


def test_a_worker_without_a_database_queue_says_so() -> None:
    with pytest.raises(CommandError, match="TASKS\\['default'\\] is ImmediateBackend"):
        call_command("queue_worker")


def test_more_tasks_than_connections_are_refused_at_the_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "validibot.dispatch.database.backend.DatabaseBackend"
    settings.TASKS = {"default": {"BACKEND": path}}
    options = connection.settings_dict["OPTIONS"] | {"pool": {"max_size": 20}}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)

    with pytest.raises(CommandError, match="Set DATABASE_POOL to 32, or ask for less"):
        call_command("queue_worker", "--concurrency", "30")
