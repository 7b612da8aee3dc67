"""`manage.py doctor` and `manage.py clock`."""

import datetime as dt
import json
from collections.abc import Mapping
from io import StringIO
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.utils import timezone
from pytest_django import Settings

from tests.factories import RunFactory, ValidatorFactory
from validibot.core.management.commands import clock
from validibot.core.models import ScheduledWork
from validibot.dispatch.models import DeadLetter
from validibot.runs.models import Run
from validibot.setup import doctor

pytestmark = pytest.mark.django_db


@pytest.fixture
def healthy(settings: Settings, tmp_path: Any) -> None:
    """A deployment in which all is well."""
    settings.DATA_ROOT = tmp_path.as_uri()
    ValidatorFactory.create()
    now = timezone.now()
    for each in settings.SCHEDULES:
        ScheduledWork.objects.create(name=each["name"], started_at=now, ended_at=now)


def examine() -> tuple[int, Mapping[str, Any]]:
    """Return the exit code, and the checks by name."""
    said, code = StringIO(), 0
    try:
        call_command("doctor", json=True, stdout=said)
    except SystemExit as end:
        code = int(end.code or 0)
    document = json.loads(said.getvalue())
    assert document["ok"] == (code == 0)
    return code, {each["name"]: each for each in document["checks"]}


def test_healthy_deployment_passes_all_checks(healthy: None) -> None:
    _, found = examine()

    # Settings of tests are not fit for a site.
    assert [each for each in found.values() if each["state"] != "ok"] == [found["settings"]]
    assert found["settings"]["action"]


def test_each_fault_has_a_next_step(healthy: None, settings: Settings) -> None:
    settings.DATA_ROOT = "file:///proc/nowhere"
    smtp = {"host": "127.0.0.1", "port": 1}
    backend = "django.core.mail.backends.smtp.EmailBackend"
    settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": smtp}}
    ScheduledWork.objects.filter(name="purge").update(error="OSError: full")
    RunFactory.create(status="PENDING")
    Run.objects.update(enqueued_at=timezone.now() - dt.timedelta(hours=1))
    with patch.object(doctor, "MAX_CLOCK_DIFFERENCE", -1):
        code, found = examine()

    wrong = {name for name, each in found.items() if each["state"] == "failed"}
    assert code == 1
    assert wrong >= {"storage", "queue", "mail", "clock", "periodic work"}
    assert all(found[name]["action"] for name in wrong)
    assert "purge failed: OSError: full" in found["periodic work"]["detail"]


def test_held_run_says_nothing_about_the_queue(healthy: None) -> None:
    long_ago = timezone.now() - dt.timedelta(hours=1)
    RunFactory.create(status="PENDING", enqueued_at=long_ago, held_at=long_ago)

    assert examine()[1]["queue"]["state"] == "ok"


def test_outage_of_database_is_told_by_each_check_that_needs_it(healthy: None) -> None:
    outage = OperationalError("connection refused")
    with patch("validibot.setup.doctor.connection.ensure_connection", side_effect=outage):
        code, found = examine()

    assert (code, found["database"]["state"]) == (1, "failed")
    assert "connection refused" in found["database"]["detail"]
    assert found["storage"]["state"] == "ok"


def test_report_for_people_names_warnings_with_their_step(healthy: None) -> None:
    DeadLetter.objects.create(task="validibot.runs.tasks.sweep", attempts=30, error="boom")
    said = StringIO()
    with pytest.raises(SystemExit):  # for the settings of the tests
        call_command("doctor", stdout=said)

    assert "warning  queue: 1 tasks failed too often" in said.getvalue()
    assert "→ `manage.py queue dead` lists them" in said.getvalue()


def test_clock_does_each_work_once_when_it_is_due(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("django.db.connection.close", lambda: None)
    long_ago = timezone.now() - dt.timedelta(days=2)

    first = clock.do_due(long_ago)
    second = clock.do_due(timezone.now())

    assert first == [each["name"] for each in settings.SCHEDULES]
    assert second == []
    assert set(ScheduledWork.objects.exclude(ended_at=None).values_list("name", flat=True)) == {
        each["name"] for each in settings.SCHEDULES
    }


def test_clock_goes_on_after_work_that_failed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("django.db.connection.close", lambda: None)
    monkeypatch.setattr("validibot.runs.tasks.run_sweep", lambda: 1 / 0)

    done = clock.do_due(timezone.now() - dt.timedelta(days=2))

    assert done == [each["name"] for each in settings.SCHEDULES]
    assert "periodic work reconcile failed" in caplog.text
    assert "ZeroDivisionError" in ScheduledWork.objects.get(name="reconcile").error
