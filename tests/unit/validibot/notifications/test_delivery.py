"""From the end of a run to notifications: who is told, by which channel, once."""

import datetime as dt
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from tests.factories import (
    FindingFactory,
    MembershipFactory,
    OrganisationFactory,
    RunFactory,
    UserFactory,
)
from validibot.accounts import guests, members
from validibot.accounts.models import Membership, Organisation, Role, User, WorkflowGrant
from validibot.accounts.scope import Scope
from validibot.notifications.delivery import due_time, lost_notices, note, notify
from validibot.notifications.models import Notification, NotificationPreference, RunNotice
from validibot.runs import tasks
from validibot.runs.lifecycle import end_run
from validibot.runs.models import Run
from validibot.runs.notices import ended_run
from validibot.runs.states import ErrorCategory, RunStatus
from validibot.runs.sweep import run_sweep
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db
RESULTS = {
    "PASS": (RunStatus.SUCCEEDED, ErrorCategory.NONE),
    "FAIL": (RunStatus.FAILED, ErrorCategory.VALIDATION_FAILED),
    "ERROR": (RunStatus.FAILED, ErrorCategory.SYSTEM_ERROR),
    "CANCELED": (RunStatus.CANCELED, ErrorCategory.NONE),
}


@pytest.fixture
def ada() -> User:
    return UserFactory.create()


@pytest.fixture
def workflow(ada: User) -> Workflow:
    run = RunFactory.create()
    MembershipFactory.create(user=ada, organisation=run.organisation, role=Role.AUTHOR)
    workflow: Workflow = run.workflow
    run.delete()
    return workflow


def ended(workflow: Workflow, result: str, *, user: User | None = None, source: str = "API") -> Run:
    """Return a run that has ended so, with the task about its end done if there is one."""
    status, category = RESULTS[result]
    run: Run = RunFactory.create(workflow=workflow, user=user, source=source, status="RUNNING")
    end_run(Run.objects.filter(pk=run.pk), run.pk, status, category=category, actor="t", error="!")
    if RunNotice.objects.filter(run=run.pk).exists():
        tasks.notify_about_run.call(str(run.pk))
    return run


def prefer(user: User, workflow: Workflow, *, of_workflow: bool = False, **fields: Any) -> None:
    NotificationPreference.objects.create(
        user=user,
        organisation=workflow.organisation,
        workflow=workflow.slug if of_workflow else "",
        **fields,
    )


def channels(run: Run) -> set[tuple[str, str]]:
    rows = Notification.objects.filter(run=run.pk)
    return {(each.user.email, each.channel) for each in rows.select_related("user")}


def test_launcher_is_told_of_failures_by_list_and_mail(workflow: Workflow, ada: User) -> None:
    failed = ended(workflow, "FAIL", user=ada, source="LAUNCH_PAGE")
    passed = ended(workflow, "PASS", user=ada, source="LAUNCH_PAGE")

    assert channels(failed) == {(ada.email, "list"), (ada.email, "mail")}
    assert channels(passed) == set()


@pytest.mark.parametrize(
    ("occasion", "results"),
    [
        ("always", ["PASS", "FAIL", "FAIL", "PASS", "ERROR"]),
        ("failures", ["FAIL", "FAIL", "ERROR"]),
        ("on_change", ["FAIL", "PASS", "ERROR"]),
        ("never", []),
    ],
)
def test_preference_chooses_results(
    workflow: Workflow, ada: User, occasion: str, results: list[str]
) -> None:
    prefer(ada, workflow, occasion=occasion, coverage="all", mail="none")

    for result in ("PASS", "FAIL", "CANCELED", "FAIL", "PASS", "ERROR"):
        ended(workflow, result)

    told = Notification.objects.order_by("pk")
    assert [each.result for each in told] == results


def test_change_is_told_with_the_notification(workflow: Workflow, ada: User) -> None:
    prefer(ada, workflow, occasion="always", coverage="all", mail="none")

    for result in ("FAIL", "PASS", "PASS", "FAIL"):
        ended(workflow, result)

    changes = list(Notification.objects.order_by("pk").values_list("change", flat=True))
    assert changes == ["", "fixed", "", "broken"]


def test_change_among_own_runs_ignores_those_of_others(workflow: Workflow, ada: User) -> None:
    prefer(ada, workflow, occasion="on_change")

    ended(workflow, "PASS", user=ada)
    ended(workflow, "FAIL")
    run = ended(workflow, "FAIL", user=ada)

    assert set(Notification.objects.values_list("run", flat=True)) == {run.pk}


def test_preference_of_workflow_replaces_that_of_organisation(
    workflow: Workflow, ada: User
) -> None:
    prefer(ada, workflow, occasion="always", coverage="all")
    prefer(ada, workflow, of_workflow=True, occasion="never")

    assert channels(ended(workflow, "FAIL", user=ada, source="LAUNCH_PAGE")) == set()


@pytest.mark.parametrize("reader", ["executor", "guest", "left", "inactive", "service"])
def test_person_is_not_told_of_run_that_cannot_be_seen(
    workflow: Workflow, ada: User, reader: str
) -> None:
    prefer(ada, workflow, occasion="always", coverage="all")
    membership = Membership.objects.filter(user=ada)
    match reader:
        case "executor":
            membership.update(role=Role.EXECUTOR)
        case "guest":
            membership.delete()
            grant = {"organisation": workflow.organisation, "workflow": workflow.slug}
            WorkflowGrant.objects.create(user=ada, **grant)
        case "left":
            membership.delete()
        case "inactive":
            User.objects.filter(pk=ada.pk).update(is_active=False)
        case "service":
            User.objects.filter(pk=ada.pk).update(service_of=workflow.organisation)

    assert channels(ended(workflow, "FAIL")) == set()
    seen_by_launcher = channels(ended(workflow, "FAIL", user=ada))
    assert bool(seen_by_launcher) == (reader in ("executor", "guest"))


def test_member_who_leaves_loses_notifications_and_preferences(
    workflow: Workflow, ada: User
) -> None:
    owner = MembershipFactory.create(organisation=workflow.organisation, role=Role.OWNER).user
    for user in (ada, owner):
        prefer(user, workflow, occasion="always", coverage="all", mail="weekly")
    ended(workflow, "FAIL")

    members.leave(Scope.of_member(ada, workflow.organisation, Role.AUTHOR))

    for rows in (Notification.objects, NotificationPreference.objects):
        assert set(rows.values_list("user", flat=True)) == {owner.pk}


@pytest.mark.parametrize(("is_member", "left"), [(False, {"kept"}), (True, {"kept", "lost"})])
def test_guest_loses_notifications_of_workflows_that_are_taken_away(
    is_member: bool, left: set[str]
) -> None:
    organisation, user = OrganisationFactory.create(), UserFactory.create()
    guests.set_grants(organisation, user, {"kept": "view", "lost": "view"})
    if is_member:
        MembershipFactory.create(organisation=organisation, user=user)
    for slug in ("kept", "lost"):
        Notification.objects.create(
            user=user, organisation=organisation, run=uuid4(), workflow=slug, channel="list"
        )

    guests.set_grants(organisation, user, {"kept": "view"})

    assert set(Notification.objects.values_list("workflow", flat=True)) == left


def test_task_that_is_delivered_again_adds_nothing(workflow: Workflow, ada: User) -> None:
    run = ended(workflow, "FAIL", user=ada, source="LAUNCH_PAGE")
    tasks.notify_about_run.call(str(run.pk))
    note(run.pk, workflow.organisation_id, certain=True)
    tasks.notify_about_run.call(str(run.pk))

    assert Notification.objects.count() == 2
    assert not RunNotice.objects.exists()


def test_lost_task_is_enqueued_by_the_sweep(workflow: Workflow, ada: User) -> None:
    run: Run = RunFactory.create(
        workflow=workflow, user=ada, source="LAUNCH_PAGE", status="TIMED_OUT"
    )
    note(run.pk, workflow.organisation_id, certain=True)
    RunNotice.objects.update(created_at=timezone.now() - dt.timedelta(minutes=2))
    assert lost_notices(timezone.now(), limit=5) == [run.pk]

    run_sweep()
    tasks.notify_about_run.call(str(run.pk))

    assert len(channels(run)) == 2


def test_deleted_run_leaves_no_notice() -> None:
    run: Run = RunFactory.create()
    note(run.pk, run.organisation_id, certain=True)
    Run.objects.all().delete()

    tasks.notify_about_run.call(str(run.pk))

    assert not RunNotice.objects.exists()


def test_first_error_is_shown(workflow: Workflow, ada: User) -> None:
    run: Run = RunFactory.create(workflow=workflow, user=ada, source="LAUNCH_PAGE", status="FAILED")
    FindingFactory.create(run=run, severity="WARNING", message="Odd.")
    FindingFactory.create(run=run, severity="ERROR", message="Too hot.")
    note(run.pk, workflow.organisation_id, certain=True)

    notify(ended_run(run))

    assert set(Notification.objects.values_list("finding", flat=True)) == {"Too hot."}


@pytest.mark.parametrize(
    ("rhythm", "now", "due"),
    [
        ("at_once", "2026-03-06T22:30Z", "2026-03-06T22:30Z"),
        ("daily", "2026-03-06T22:30Z", "2026-03-07T07:00Z"),
        ("daily", "2026-03-28T22:30Z", "2026-03-29T06:00Z"),  # summer time begins that night
        ("weekly", "2026-03-06T22:30Z", "2026-03-09T07:00Z"),
        ("weekly", "2026-03-09T07:00Z", "2026-03-16T07:00Z"),
    ],
)
def test_digest_is_due_in_the_morning_where_the_user_is(rhythm: str, now: str, due: str) -> None:
    user = User(time_zone="Europe/Zurich")

    found = due_time(rhythm, user, dt.datetime.fromisoformat(now))

    assert found == dt.datetime.fromisoformat(due)


def test_run_without_interest_writes_nothing(workflow: Workflow) -> None:
    other: Organisation = MembershipFactory.create().organisation

    assert not note(RunFactory.create().pk, other.pk, certain=False)
