"""The waitlist: double opt-in, invitations in bulk, and the sign-up that they open."""

import datetime as dt
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from django.core import mail
from django.test import Client
from django.utils import timezone

from tests.factories import UserFactory
from validibot.accounts.models import User, WaitlistEntry
from validibot.accounts.waitlist import LIFETIME, purge_entries
from validibot.core.models import SignUp, SiteSettings

pytestmark = pytest.mark.django_db
ADDRESS = "eve@example.org"


@pytest.fixture(autouse=True)
def _by_invitation() -> None:
    SiteSettings.objects.create(sign_up=SignUp.INVITATION)


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Any) -> Any:
    return lambda: django_capture_on_commit_callbacks(execute=True)


def link() -> str:
    """Return the path of the link in the last mail."""
    found = re.search(r"http\S+/waitlist/\S+", str(mail.outbox[-1].body))
    assert found
    return urlsplit(found[0]).path


def without_tokens(page: str) -> str:
    return re.sub("[A-Za-z0-9]{64}", "", page)


def joined(client: Client, commit: Any, address: str = ADDRESS) -> WaitlistEntry:
    with commit():
        client.post("/waitlist/", {"email": address})
    return WaitlistEntry.objects.get(email=address.lower())


def invited(commit: Any, *entries: WaitlistEntry) -> str:
    """Invite by the action of the admin site and return the page that follows."""
    operator = Client()
    operator.force_login(User.objects.create_superuser("root@example.com"))
    chosen = {"action": "invite", "_selected_action": [entry.pk for entry in entries]}
    with commit():
        page = operator.post("/admin/accounts/waitlistentry/", chosen, follow=True)
    return page.content.decode()


def test_address_counts_once_it_is_confirmed(client: Client, commit: Any) -> None:
    entry = joined(client, commit, "Eve@Example.org")
    path = link()
    client.get(path)
    entry.refresh_from_db()
    assert entry.confirmed_at is None

    client.post(path)

    entry.refresh_from_db()
    assert (entry.email, entry.confirmed_at is None) == (ADDRESS, False)


def test_link_removes_the_address(client: Client, commit: Any) -> None:
    joined(client, commit)

    client.post(link(), {"action": "leave"})

    assert not WaitlistEntry.objects.exists()
    assert client.get(link()).status_code == 404


def test_answer_does_not_tell_known_addresses(client: Client, commit: Any) -> None:
    UserFactory.create(email="ada@example.org")
    with commit():
        known, unknown = (
            client.post("/waitlist/", {"email": email}).content.decode()
            for email in ("ada@example.org", ADDRESS)
        )

    assert without_tokens(known) == without_tokens(unknown)
    assert [message.to for message in mail.outbox] == [[ADDRESS]]


def test_mails_to_an_address_are_limited(client: Client, commit: Any) -> None:
    for _ in range(5):
        joined(client, commit)

    assert len(mail.outbox) == 3


def test_entry_is_kept_as_long_as_its_newest_link_works(client: Client, commit: Any) -> None:
    joined(client, commit)
    old = timezone.now() - LIFETIME - dt.timedelta(days=1)
    WaitlistEntry.objects.update(created_at=old)
    joined(client, commit)

    assert purge_entries(timezone.now() - LIFETIME) == 0
    assert client.get(link()).status_code == 200


def test_addresses_of_a_client_are_limited(client: Client) -> None:
    answers = [client.post("/waitlist/", {"email": f"a{n}@example.org"}) for n in range(11)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [422]


def test_invited_address_signs_up(client: Client, commit: Any) -> None:
    entry, other = joined(client, commit), WaitlistEntry.objects.create(email="b@example.org")
    WaitlistEntry.objects.filter(pk=entry.pk).update(confirmed_at=timezone.now())
    assert "Join the waitlist" in client.get("/accounts/signup/").content.decode()

    page = invited(commit, entry, other)
    client.get(link())
    password = {"password1": "s3cret-long", "password2": "s3cret-long"}
    wrong = client.post("/accounts/signup/", {"email": "x@example.org", **password})
    client.post("/accounts/signup/", {"email": ADDRESS, **password})

    assert "1 invited, 1 left out: not confirmed." in page
    assert "You were invited as" in wrong.content.decode()
    assert User.objects.filter(email=ADDRESS).exists()


def test_old_invitation_opens_nothing(client: Client, commit: Any) -> None:
    entry = WaitlistEntry.objects.create(email=ADDRESS, confirmed_at=timezone.now())
    invited(commit, entry)
    path = link()

    with time_machine.travel(timezone.now() + LIFETIME + dt.timedelta(minutes=1)):
        answer = client.get(path)

    assert answer.status_code == 404
    assert "does not work any more" in answer.content.decode()


@pytest.mark.parametrize("sign_up", [SignUp.OPEN, SignUp.CLOSED])
def test_invitation_needs_sign_up_by_invitation(commit: Any, sign_up: str) -> None:
    SiteSettings.objects.update(sign_up=sign_up)
    entry = WaitlistEntry.objects.create(email=ADDRESS, confirmed_at=timezone.now())

    assert "By invitation only" in invited(commit, entry)
    assert not mail.outbox


def test_open_site_leads_to_sign_up(client: Client) -> None:
    SiteSettings.objects.update(sign_up=SignUp.OPEN)

    assert client.get("/waitlist/").headers["Location"] == "/accounts/signup/"


@pytest.mark.parametrize("path", ["/waitlist/forged/", "/waitlist/forged/join/"])
def test_forged_link_returns_404(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_unconfirmed_and_registered_addresses_are_purged() -> None:
    now = timezone.now()
    for name, confirmed, age in (("late", None, 20), ("new", None, 1), ("kept", now, 20)):
        created = now - dt.timedelta(days=age)
        WaitlistEntry.objects.create(
            email=f"{name}@example.org", confirmed_at=confirmed, created_at=created
        )
    user = UserFactory.create()
    WaitlistEntry.objects.create(email=user.email, confirmed_at=now)

    assert purge_entries(now - LIFETIME) == 2
    left = set(WaitlistEntry.objects.values_list("email", flat=True))
    assert left == {"new@example.org", "kept@example.org"}
