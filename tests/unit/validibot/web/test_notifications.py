"""The pages of notifications: bell, list and preferences."""

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from tests.factories import MembershipFactory, StepFactory
from validibot.accounts.models import Membership
from validibot.notifications.models import Notification, NotificationPreference
from validibot.notifications.preferences import MAX_PREFERENCES
from validibot.workflows import editing

pytestmark = pytest.mark.django_db
LIST = "/app/users/notifications/"
FORM = {"workflow": "", "occasion": "always", "coverage": "all", "in_list": "on", "mail": "daily"}


def noted(member: Membership, **fields: Any) -> Notification:
    values = {
        "user": member.user,
        "organisation": member.organisation,
        "run": uuid4(),
        "workflow": "office",
        "channel": "list",
        "title": "a.json · Office",
        "result": "FAIL",
    }
    return Notification.objects.create(**values | fields)


def at(member: Membership, path: str = "") -> str:
    return f"/app/orgs/{member.organisation.slug}/notifications/{path}"


def test_list_shows_own_notifications_and_bell_counts_unread(
    client: Client, member: Membership
) -> None:
    noted(member)
    noted(member, channel="mail", title="mail.json")
    noted(MembershipFactory.create(), title="theirs.json")

    page = client.get(LIST).content.decode()

    assert "a.json · Office" in page
    assert "Notifications, 1 unread" in page
    assert not any(text in page for text in ("mail.json", "theirs.json"))


def test_opened_notification_is_read_and_leads_to_run(client: Client, member: Membership) -> None:
    row = noted(member)

    answer = client.get(f"{LIST}{row.pk}/")

    assert answer.headers["Location"] == row.path
    assert "Notifications, " not in client.get(LIST).content.decode()


def test_notification_of_another_user_is_not_found(client: Client, member: Membership) -> None:
    theirs = noted(MembershipFactory.create())

    assert client.get(f"{LIST}{theirs.pk}/").status_code == 404
    client.post(LIST, {"notification": theirs.pk})

    theirs.refresh_from_db()
    assert theirs.read_at is None


@pytest.mark.parametrize(
    ("chosen", "unread"), [("first", 1), ("", 0), ("x", 2), ("9" * 30, 2), ("-1", 2)]
)
def test_post_marks_one_or_all_as_read(
    client: Client, member: Membership, chosen: str, unread: int
) -> None:
    first, _second = noted(member), noted(member)

    answer = client.post(LIST, {"notification": str(first.pk) if chosen == "first" else chosen})

    assert answer.status_code == 302
    assert Notification.objects.filter(read_at=None).count() == unread


def test_saved_preference_is_listed_replaced_and_removed(
    client: Client, member: Membership
) -> None:
    workflow = StepFactory.create(workflow__organisation=member.organisation).workflow
    client.post(at(member), FORM | {"workflow": workflow.slug})
    client.post(at(member), FORM | {"workflow": workflow.slug, "occasion": "on_change"})
    row = NotificationPreference.objects.get()

    listed = client.get("/app/users/notifications/settings/").content.decode()
    form = client.get(f"{at(member)}?workflow={workflow.slug}").content.decode()
    client.post(at(member, "delete/"), {"id": row.pk})

    assert (row.user, row.workflow, row.occasion) == (member.user, workflow.slug, "on_change")
    assert "the first failure after a pass" in listed
    assert '<option value="on_change" selected>' in form
    assert not NotificationPreference.objects.exists()


def test_preference_follows_its_workflow(member: Membership) -> None:
    workflow = StepFactory.create(workflow__organisation=member.organisation).workflow
    NotificationPreference.objects.create(
        user=member.user, organisation=member.organisation, workflow=workflow.slug
    )

    editing.rename(workflow, "renamed")
    assert NotificationPreference.objects.get().workflow == "renamed"

    editing.delete(workflow)
    assert not NotificationPreference.objects.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"workflow": "theirs"}, "theirs is not one of the available choices"),
        ({"occasion": "sometimes"}, "sometimes is not one of the available choices"),
        ({"mail": ""}, "This field is required"),
    ],
)
def test_unusable_preference_is_explained(
    client: Client, member: Membership, change: dict[str, str], told: str
) -> None:
    answer = client.post(at(member), FORM | change)

    assert answer.status_code == 422
    assert told in answer.content.decode()


@pytest.mark.parametrize("workflow", ["theirs", "%00", "x" * 300])
def test_form_for_unknown_workflow_is_that_for_all(
    client: Client, member: Membership, workflow: str
) -> None:
    answer = client.get(f"{at(member)}?workflow={workflow}")

    assert answer.status_code == 200
    assert '<option value="failures" selected>' in answer.content.decode()


def test_number_of_preferences_is_limited(client: Client, member: Membership) -> None:
    NotificationPreference.objects.bulk_create(
        NotificationPreference(
            user=member.user, organisation=member.organisation, workflow=f"w{number}"
        )
        for number in range(MAX_PREFERENCES)
    )

    answer = client.post(at(member), FORM)

    assert "You have 200 preferences in this organisation." in answer.content.decode()


def test_preference_of_another_user_cannot_be_removed(client: Client, member: Membership) -> None:
    other = MembershipFactory.create(organisation=member.organisation).user
    row = NotificationPreference.objects.create(user=other, organisation=member.organisation)

    client.post(at(member, "delete/"), {"id": row.pk})

    assert NotificationPreference.objects.exists()
