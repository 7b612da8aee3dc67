"""Runs that schedules start: exactly one for each time, on a kept file or on a fetched one."""

import datetime as dt
import io
from typing import Any

import pytest
import responses
import time_machine
from django.core.exceptions import ValidationError
from django.utils import timezone

from tests.factories import MembershipFactory, StepFactory
from validibot.accounts.models import Membership, Role
from validibot.core.storage import StorageError
from validibot.runs.models import Run
from validibot.runs.scheduled import start_scheduled
from validibot.runs.start import OriginTaken, RunOrigin, start
from validibot.runs.sweep import run_sweep
from validibot.submissions.content import Incoming, measure
from validibot.workflows import editing, schedules
from validibot.workflows.models import Workflow, WorkflowSchedule

pytestmark = pytest.mark.django_db
URL = "https://data.example.org/daily/readings.json"
NOON = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def workflow() -> Workflow:
    member = MembershipFactory.create(role=Role.AUTHOR)
    made: Workflow = StepFactory.create(
        workflow__organisation=member.organisation, workflow__author=member.user
    ).workflow
    return made


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answer for `URL` in place of the network; its name leads to a public address."""
    monkeypatch.setattr(
        "requests_hardened.ip_filter.socket.getaddrinfo",
        lambda *_, **__: [(2, 1, 6, "", ("93.184.215.14", 443))],
    )
    with responses.RequestsMock(assert_all_requests_are_fired=False) as site:
        yield site


def due(workflow: Workflow, **fields: Any) -> WorkflowSchedule:
    """Return an hourly schedule whose time came at noon; it keeps a file unless a URL is given."""
    file = None if "url" in fields else ("kept.json", b'{"name": "Ada"}')
    values = {"name": "Hourly", "cron": "0 * * * *", "time_zone": "UTC", "url": "", "metadata": {}}
    assert workflow.author
    with time_machine.travel(NOON - dt.timedelta(minutes=30), tick=False):
        return schedules.create(workflow, user=workflow.author, file=file, **values | fields)


def started(schedule: WorkflowSchedule, *, minutes: int = 1) -> Run | None:
    with time_machine.travel(NOON + dt.timedelta(minutes=minutes), tick=False):
        return start_scheduled(schedule.pk)


def test_time_that_has_come_starts_one_run(workflow: Workflow) -> None:
    schedule = due(workflow)
    assert started(schedule, minutes=-1) is None

    run = started(schedule)

    assert run
    assert started(schedule) is None
    stored = Run.objects.get()
    assert (stored.source, stored.user, stored.schedule) == ("SCHEDULE", workflow.author, schedule)
    assert stored.submission.filename == "kept.json"
    row = WorkflowSchedule.objects.get()
    assert (row.last_at, row.next_at) == (NOON, NOON + dt.timedelta(hours=1))


def test_second_worker_at_the_same_time_starts_nothing(workflow: Workflow) -> None:
    """The second worker has read the schedule before the first one committed."""
    schedule = due(workflow)
    stale = WorkflowSchedule.objects.get()
    assert started(schedule)
    file = io.BytesIO(b"{}")
    incoming = Incoming(file, "b.json", *measure(file))

    with pytest.raises(OriginTaken):
        start(workflow, incoming, user=None, source="API", origin=RunOrigin(schedule=stale))

    assert Run.objects.count() == 1


def test_outage_of_days_is_followed_by_one_run(workflow: Workflow) -> None:
    schedule = due(workflow)

    assert started(schedule, minutes=3 * 24 * 60 + 1)
    assert started(schedule, minutes=3 * 24 * 60 + 2) is None

    assert Run.objects.count() == 1


def test_sweep_starts_what_is_due(workflow: Workflow) -> None:
    due(workflow)

    with time_machine.travel(NOON, tick=False):
        assert [run_sweep()["scheduled"], run_sweep()["scheduled"]] == [1, 0]

    assert Run.objects.get().schedule


def test_file_is_fetched_from_its_address(workflow: Workflow, site: Any) -> None:
    site.get(URL, body=b'{"name": "Ada"}', content_type="application/json")

    run = started(due(workflow, url=URL, metadata={"phase": "final"}))

    assert run
    assert (run.submission.filename, run.submission.size_bytes) == ("readings.json", 15)
    assert run.submission.metadata == {"phase": "final"}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"status": 503}, "The address answered 503."),
        (
            {"status": 302, "headers": {"Location": f"http://10.0.0.1/{'a' * 100}"}},
            f"The address redirects to 'http://10.0.0.1/{'a' * 100}'. Use that address.",
        ),
        ({"body": b""}, "The file is empty."),
        ({"body": b"x" * 30}, "The file is larger than 20 bytes."),
    ],
)
def test_file_that_cannot_be_fetched_is_tried_for_an_hour(
    workflow: Workflow, site: Any, settings: Any, answer: dict[str, Any], message: str
) -> None:
    settings.MAX_UPLOAD_BYTES = 20
    site.get(URL, **answer)
    schedule = due(workflow, url=URL)

    assert started(schedule) is None
    waits = WorkflowSchedule.objects.get()
    assert started(schedule, minutes=61) is None
    given_up = WorkflowSchedule.objects.get()

    assert (waits.error, waits.next_at) == (message, NOON)
    assert (given_up.error, given_up.last_at) == (message, NOON)
    assert given_up.next_at == NOON + dt.timedelta(hours=2)


def test_private_address_is_not_reached(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "requests_hardened.ip_filter.socket.getaddrinfo",
        lambda *_, **__: [(2, 1, 6, "", ("169.254.169.254", 443))],
    )

    assert started(due(workflow, url=URL)) is None
    assert "private network" in WorkflowSchedule.objects.get().error


def test_file_of_wrong_type_goes_on_to_the_next_time(workflow: Workflow, site: Any) -> None:
    site.get("https://data.example.org/readings.pdf", body=b"%PDF-1.7")

    assert started(due(workflow, url="https://data.example.org/readings.pdf")) is None

    row = WorkflowSchedule.objects.get()
    assert "readings.pdf is not a file that" in row.error
    assert row.next_at == NOON + dt.timedelta(hours=1)


def test_full_quota_is_waited_for(workflow: Workflow) -> None:
    schedule, other = due(workflow), due(workflow)
    workflow.organisation.launch_quota = 1
    workflow.organisation.save()

    assert started(schedule)
    assert started(other) is None

    row = WorkflowSchedule.objects.get(pk=other.pk)
    assert (row.next_at, "which is its quota" in row.error) == (NOON, True)


def test_schedule_of_somebody_who_left_is_paused(workflow: Workflow) -> None:
    schedule = due(workflow)
    Membership.objects.all().delete()

    assert started(schedule) is None

    row = WorkflowSchedule.objects.get()
    assert row.is_paused
    assert "may not start this workflow any more" in row.error
    assert not Run.objects.exists()


def test_archived_workflow_starts_nothing_until_it_is_restored(workflow: Workflow) -> None:
    schedule = due(workflow)
    editing.archive(workflow)
    assert started(schedule) is None
    assert "is archived" in WorkflowSchedule.objects.get().error

    editing.restore(workflow)
    assert started(schedule, minutes=61)


def test_error_of_storage_is_kept_from_the_page(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = due(workflow)

    def fail(uri: str) -> None:
        raise StorageError(f"{uri} cannot be reached.")

    monkeypatch.setattr("validibot.runs.scheduled.get_storage", fail)

    assert started(schedule) is None
    assert WorkflowSchedule.objects.get().error == "The kept file cannot be read."


def test_schedule_of_organisation_in_deletion_starts_nothing(workflow: Workflow) -> None:
    schedule = due(workflow)
    workflow.organisation.deletion_requested_at = timezone.now()
    workflow.organisation.save()

    assert started(schedule) is None


def test_failing_schedules_take_turns_with_others(workflow: Workflow, site: Any) -> None:
    """The waits between tries grow, and a schedule that waits does not fill the batch of a sweep."""
    site.get(URL, status=503)
    failing, tries = due(workflow, url=URL), []
    for minute in range(1, 61):
        started(failing, minutes=minute)
        tries.append(WorkflowSchedule.objects.get(pk=failing.pk).retry_at)
    other = due(workflow)

    waits = [retry for retry, before in zip(tries[1:], tries, strict=False) if retry != before]
    assert [(each - NOON) // dt.timedelta(minutes=1) for each in [tries[0], *waits] if each] == [
        *(6, 12, 24, 44, 64)
    ]
    assert list(schedules.due_schedules(NOON + dt.timedelta(minutes=60))) == [other]


def test_run_now_starts_one_run_and_keeps_the_next_time(workflow: Workflow) -> None:
    schedule = due(workflow)
    with time_machine.travel(NOON - dt.timedelta(minutes=20), tick=False):
        now = schedules.run_now(schedule)

        assert start_scheduled(now.pk)
        assert start_scheduled(now.pk) is None

    assert WorkflowSchedule.objects.get().next_at == NOON
    schedules.pause(schedule)
    with pytest.raises(ValidationError, match="Hourly is paused"):
        schedules.run_now(schedule)
