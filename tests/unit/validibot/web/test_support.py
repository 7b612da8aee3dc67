"""The page of support: stored, mailed, limited, and with the run that it is about."""

import datetime as dt
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from tests.factories import MembershipFactory, RunFactory
from validibot.accounts.models import Membership, User
from validibot.core.models import SiteSettings
from validibot.support.models import SupportRequest
from validibot.support.requests import purge_requests

pytestmark = pytest.mark.django_db
FORM = {"subject": "Too slow", "message": "It takes an hour.\nWhy?"}


@pytest.fixture
def _mailbox() -> None:
    SiteSettings.objects.create(support_email="help@example.org")


@pytest.mark.usefixtures("_mailbox")
def test_question_of_user_is_stored_and_mailed_with_its_run(
    client: Client, member: Membership, django_capture_on_commit_callbacks: Any
) -> None:
    run = RunFactory.create(workflow__organisation=member.organisation)
    query = f"?org={member.organisation.slug}&run={run.pk}"
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(f"/support/{query}", FORM | {"email": "forged@example.org"})

    row = SupportRequest.objects.get()
    (sent,) = mail.outbox
    assert answer.status_code == 302
    assert (row.user, row.email, row.run) == (member.user, member.user.email, run.pk)
    assert (sent.to, sent.reply_to) == (["help@example.org"], [member.user.email])
    assert (sent.subject, row.run_url in str(sent.body)) == ("Support: Too slow", True)


def test_visitor_gives_an_address(client: Client) -> None:
    refused = client.post("/support/", FORM)
    client.post("/support/", FORM | {"email": "eve@example.org"})

    assert refused.status_code == 422
    row = SupportRequest.objects.get()
    assert (row.user, row.email, mail.outbox) == (None, "eve@example.org", [])


@pytest.mark.parametrize("run", ["x", "", "00000000-0000-4000-8000-000000000000", "theirs"])
def test_run_that_cannot_be_seen_is_not_attached(
    client: Client, member: Membership, run: str
) -> None:
    theirs = RunFactory.create()
    asked = str(theirs.pk) if run == "theirs" else run
    client.post(f"/support/?org={theirs.organisation.slug}&run={asked}", FORM)

    assert SupportRequest.objects.get().run is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"email": "nobody"}, "Enter a valid email address"),
        ({"message": ""}, "This field is required"),
        ({"message": "x" * 5001}, "at most 5000 characters"),
        ({"subject": "x" * 151}, "at most 150 characters"),
    ],
)
def test_unusable_question_is_explained(client: Client, change: dict[str, str], told: str) -> None:
    answer = client.post("/support/", FORM | {"email": "eve@example.org"} | change)

    assert answer.status_code == 422
    assert told in answer.content.decode()


def test_questions_of_a_visitor_are_limited(client: Client) -> None:
    form = FORM | {"email": "eve@example.org"}
    answers = [client.post("/support/", form) for _ in range(6)]

    assert [answer.status_code for answer in answers] == [302] * 5 + [422]
    assert "Try again in" in answers[-1].content.decode()
    assert SupportRequest.objects.count() == 5


def test_operator_marks_question_as_answered(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root@example.com"))
    row = SupportRequest.objects.create(email="eve@example.org", **FORM)
    shown = client.get(f"/admin/support/supportrequest/{row.pk}/change/").content.decode()
    client.post(
        "/admin/support/supportrequest/",
        {"action": "mark_answered", "_selected_action": row.pk},
    )

    row.refresh_from_db()
    assert "It takes an hour." in shown
    assert row.answered_at


def test_old_questions_are_purged() -> None:
    old = timezone.now() - dt.timedelta(days=400)
    SupportRequest.objects.create(email="eve@example.org", created_at=old, **FORM)

    assert purge_requests(timezone.now() - dt.timedelta(days=365)) == 1


def test_questions_go_with_the_account() -> None:
    member = MembershipFactory.create()
    SupportRequest.objects.create(user=member.user, email=member.user.email, **FORM)

    member.user.delete()

    assert not SupportRequest.objects.exists()
