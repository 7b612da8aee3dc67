"""Times of schedules, and what a schedule refuses."""

import datetime as dt
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from tests.factories import UserFactory, WorkflowFactory
from validibot.accounts.models import User
from validibot.workflows import editing, schedules
from validibot.workflows.models import Workflow, WorkflowSchedule

FIELDS: dict[str, Any] = {
    "name": "Nightly",
    "cron": "30 2 * * *",
    "time_zone": "Europe/Zurich",
    "url": "https://example.org/data.json",
    "metadata": {},
    "file": None,
}


def local(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("2026-03-28T12:00+01:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
        ("2026-10-24T12:00+02:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
    ],
    ids=["hour that is left out", "hour that comes twice"],
)
def test_clock_changes_start_one_run_a_day(after: str, expected: list[str]) -> None:
    found = schedules.next_times("30 2 * * *", "Europe/Zurich", local(after), 2)

    assert [each.isoformat(timespec="minutes") for each in found] == expected


@pytest.mark.parametrize(
    ("cron", "time_zone", "message"),
    [
        ("0 7 * *", "UTC", "'0 7 \\* \\*' has not five fields"),
        ("0 0 7 * * *", "UTC", "has not five fields"),
        ("61 7 * * *", "UTC", "'61 7 \\* \\* \\*' cannot be read: Bad minute"),
        ("0 0 30 2 *", "UTC", "cannot be read|never comes"),
        ("* * * * *", "UTC", "every 5 minutes at most"),
        ("0,1 9 * * 1", "UTC", "every 5 minutes at most"),
        ("0 7 * * *", "Mars/Olympus", "'Mars/Olympus' is no time zone"),
        ("0 7 * * *", "../../etc/passwd", "is no time zone"),
    ],
)
def test_unusable_times_are_refused(cron: str, time_zone: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        schedules.check_times(cron, time_zone)


@pytest.mark.parametrize("cron", ["0 * * * *", "*/30 * * * *", "58 1,2,3 * * *"])
@pytest.mark.parametrize("today", ["2026-03-28T12:00Z", "2026-10-24T12:00Z"])
def test_times_are_far_enough_apart_before_a_clock_change(cron: str, today: str) -> None:
    with time_machine.travel(local(today), tick=False):
        schedules.check_times(cron, "Europe/Zurich")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": ""}, "Give the address of a file, or choose one"),
        ({"file": ("a.json", b"{}")}, "an address or a file, not both"),
        ({"url": "", "file": ("a.json", b"")}, "a.json has 0 bytes"),
        ({"url": "http://example.org/a"}, "begins with https"),
        ({"url": "https://ada:pw@example.org/a"}, "user name or password"),
    ],
)
def test_schedule_needs_one_safe_source(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        schedules.create(WorkflowFactory.create(), user=UserFactory.create(), **FIELDS | changes)


@pytest.fixture
def workflow() -> Workflow:
    made: Workflow = WorkflowFactory.create()
    return made


@pytest.fixture
def schedule(workflow: Workflow) -> WorkflowSchedule:
    with time_machine.travel("2026-06-01 12:00Z", tick=False):
        return schedules.create(workflow, user=UserFactory.create(), **FIELDS)


@pytest.mark.django_db
def test_schedule_takes_each_time_once_and_leaves_missed_ones_out(
    schedule: WorkflowSchedule,
) -> None:
    first, same = WorkflowSchedule.objects.get(), WorkflowSchedule.objects.get()
    assert schedule.next_at == local("2026-06-02T02:30+02:00")

    with time_machine.travel("2026-06-05 12:00Z", tick=False):
        assert [schedules.go_on(first), schedules.go_on(same)] == [True, False]

    row = WorkflowSchedule.objects.get()
    assert row.last_at == local("2026-06-02T02:30+02:00")
    assert row.next_at == local("2026-06-06T02:30+02:00")


@pytest.mark.django_db
def test_paused_schedule_is_never_due_until_it_is_resumed(schedule: WorkflowSchedule) -> None:
    later = timezone.now() + dt.timedelta(days=3650)
    schedules.pause(schedule, reason="The user left.")
    assert not schedules.due_schedules(later).exists()
    schedules.change(schedule, **FIELDS | {"cron": "0 3 * * *"})
    assert WorkflowSchedule.objects.get().is_paused

    other = UserFactory.create()
    schedules.resume(WorkflowSchedule.objects.get(), user=other)

    row = schedules.due_schedules(later).get()
    assert (row.created_by, row.error, row.cron) == (other, "", "0 3 * * *")


@pytest.mark.django_db
@pytest.mark.parametrize(("cron", "waits"), [(FIELDS["cron"], True), ("0 3 * * *", False)])
def test_changed_address_is_tried_at_once_and_other_times_begin_now(
    schedule: WorkflowSchedule, cron: str, waits: bool
) -> None:
    with time_machine.travel("2026-06-02 00:31Z", tick=False):
        schedules.postpone(schedule, "The address does not answer.")
        schedules.change(
            schedule, **FIELDS | {"cron": cron, "url": "https://files.example/new.json"}
        )

        assert schedules.due_schedules(timezone.now()).exists() is waits


@pytest.mark.django_db
def test_number_of_schedules_is_limited(
    workflow: Workflow, schedule: WorkflowSchedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "MAX_SCHEDULES", 1)

    with pytest.raises(ValidationError, match="at most 1 schedules"):
        schedules.create(workflow, user=UserFactory.create(), **FIELDS)


@pytest.mark.django_db
def test_schedule_follows_its_workflow(workflow: Workflow, schedule: WorkflowSchedule) -> None:
    editing.rename(workflow, "other")
    assert schedules.schedules_of(workflow).get() == schedule

    editing.delete(workflow)
    assert not WorkflowSchedule.objects.exists()


@pytest.mark.django_db
def test_operator_pauses_schedules_in_the_admin_site(
    client: Client, schedule: WorkflowSchedule
) -> None:
    client.force_login(User.objects.create_superuser("root@example.com"))
    page = "/admin/workflows/workflowschedule/"
    assert "Nightly" in client.get(page).content.decode()

    client.post(page, {"action": "pause", "_selected_action": [schedule.pk]})

    row = WorkflowSchedule.objects.get()
    assert (row.is_paused, row.error) == (True, "An operator paused this schedule.")
