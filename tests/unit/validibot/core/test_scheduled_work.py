"""The register of periodic work and its page in the admin site."""

import datetime as dt

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from validibot.accounts.models import User
from validibot.core.models import ScheduledWork
from validibot.core.scheduled_work import is_overdue, next_time, recorded, register

pytestmark = pytest.mark.django_db


def fail() -> dict[str, int]:
    raise ValueError("The database of the weather is closed.")


def test_pass_records_its_counts_and_next_failure_its_error() -> None:
    assert recorded("purge", lambda: {"events": 3}) == {"events": 3}
    with pytest.raises(ValueError, match="closed"):
        recorded("purge", fail)

    row = ScheduledWork.objects.get()
    assert (row.result, row.error) == (
        {"events": 3},
        "ValueError: The database of the weather is closed.",
    )
    recorded("purge", lambda: {"events": 0})
    assert ScheduledWork.objects.get().error == ""


def test_register_has_a_row_for_all_declared_work(settings: Settings) -> None:
    settings.SCHEDULES = [{"name": "digest", "cron": "0 6 * * *", "task": "x"}]
    ScheduledWork.objects.create(name="removed")

    register()

    assert [row.name for row in ScheduledWork.objects.all()] == ["digest"]
    assert next_time("digest", dt.datetime(2026, 3, 1, 7, tzinfo=dt.UTC)) == dt.datetime(
        2026, 3, 2, 6, tzinfo=dt.UTC
    )


@time_machine.travel("2026-03-01 12:00Z", tick=False)
def test_work_is_overdue_when_its_next_pass_did_not_begin() -> None:
    begun = {minutes: timezone.now() - dt.timedelta(minutes=minutes) for minutes in (3, 30)}
    rows = [ScheduledWork(name="reconcile", started_at=each) for each in begun.values()]

    assert [is_overdue(row, timezone.now()) for row in rows] == [False, True]
    assert not is_overdue(ScheduledWork(name="reconcile"), timezone.now())


def test_admin_lists_periodic_work_for_reading_only(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root@example.com"))
    recorded("purge", lambda: {"events": 1234})

    shown = client.get("/admin/core/scheduledwork/").content.decode()

    assert all(text in shown for text in ("reconcile", "never ran", "17 3 * * *", "events: 1,234"))
    assert client.get("/admin/core/scheduledwork/add/").status_code == 403
