"""Sign-up, sign-in and the mails about accounts."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from unittest.mock import Mock

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from validibot.accounts.models import Organisation, User
from validibot.core.mail import send_pending_mail
from validibot.core.models import CacheEntry, PendingMail

pytestmark = pytest.mark.django_db

type Commits = Callable[..., AbstractContextManager[list[object]]]
PASSWORD = "s3cret-long"


@pytest.fixture
def ann() -> User:
    user = User.objects.create_user("ann@example.com", PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return user


def _sign_up(email: str, address: str = "10.0.0.1") -> None:
    form = {"email": email, "password1": PASSWORD, "password2": PASSWORD}
    answer = Client(REMOTE_ADDR=address).post("/accounts/signup/", form)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/accounts/confirm-email/")


def test_confirmation_mail_names_product_and_site(
    django_capture_on_commit_callbacks: Commits,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        _sign_up("ann@example.com")

    assert mail.outbox[0].subject == "Please Confirm Your Email Address"
    assert "Hello from Validibot!" in mail.outbox[0].body
    assert "http://testserver/accounts/confirm-email/" in mail.outbox[0].body
    assert not PendingMail.objects.exists()


@pytest.mark.parametrize("email", ["ann@example.com", "bob@example.com"])
def test_account_mail_is_sent_by_task_with_no_secret_argument(
    ann: User,
    email: str,
    django_capture_on_commit_callbacks: Commits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enqueue = Mock(side_effect=ConnectionError("the queue is away"))
    monkeypatch.setattr(type(send_pending_mail), "enqueue", enqueue)

    with django_capture_on_commit_callbacks(execute=True):
        answer = Client().post("/accounts/password/reset/", {"email": email})

    row = PendingMail.objects.get()
    enqueue.assert_called_once_with(str(row.pk))
    assert (answer.status_code, row.recipients, mail.outbox) == (302, [email], [])


def _written_tables(queries: CaptureQueriesContext) -> list[str]:
    statements = (query["sql"] for query in queries.captured_queries)
    found = (re.match(r'INSERT INTO "?(\w+)', statement) for statement in statements)
    return sorted(match[1] for match in found if match)


def test_signup_with_known_address_does_the_same_work(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = Mock(return_value="!")
    monkeypatch.setattr("django.contrib.auth.base_user.make_password", hashed)
    with CaptureQueriesContext(connection) as new:
        _sign_up("bob@example.com")
    with CaptureQueriesContext(connection) as known:
        _sign_up(ann.email, "10.0.0.2")

    # The mail to a known address is sent once in three minutes; the next sign-up must not be faster.
    with CaptureQueriesContext(connection) as again:
        _sign_up(ann.email)

    assert hashed.call_count == 3
    assert _written_tables(known) == _written_tables(new)
    assert {*_written_tables(new)} - {*_written_tables(again)} == {"core_pendingmail"}
    assert User.objects.count() == 2
    assert Organisation.objects.count() == 1


def test_wrong_passwords_lock_account_for_their_address_only(ann: User) -> None:
    guesser, owner = Client(REMOTE_ADDR="10.0.0.1"), Client(REMOTE_ADDR="10.0.0.2")
    for _ in range(6):
        guesser.post("/accounts/login/", {"login": ann.email, "password": "wrong"})

    right = {"login": ann.email, "password": PASSWORD}
    refused, accepted = (each.post("/accounts/login/", right) for each in (guesser, owner))

    assert (refused.status_code, accepted.status_code) == (200, 302)
    # In the database, which all instances share.
    assert CacheEntry.objects.filter(cache_key__contains="login").exists()


def test_garbage_in_forwarded_header_is_ignored() -> None:
    form = {"login": "ann@example.com", "password": "wrong"}

    answer = Client().post("/accounts/login/", form, headers={"X-Forwarded-For": "x"})

    assert answer.status_code == 200
