"""Sign-up, sign-in and the mails about accounts."""

from unittest.mock import Mock

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.cache import cache
from django.test import Client

from validibot.accounts.models import User


@pytest.fixture(autouse=True)
def _no_rates() -> None:
    """Forget the attempts of other tests, which count towards the limits."""
    cache.clear()


@pytest.mark.django_db
def test_confirmation_mail_names_product_and_site() -> None:
    form = {"email": "ann@example.com", "password1": "s3cret-long", "password2": "s3cret-long"}
    Client().post("/accounts/signup/", form)

    assert mail.outbox[0].subject == "Please Confirm Your Email Address"
    assert "Hello from Validibot!" in mail.outbox[0].body
    assert "http://testserver/accounts/confirm-email/" in mail.outbox[0].body


@pytest.mark.django_db
def test_wrong_passwords_lock_account_for_their_address_only() -> None:
    user = User.objects.create_user("ann@example.com", "s3cret-long")
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    guesser, owner = Client(REMOTE_ADDR="10.0.0.1"), Client(REMOTE_ADDR="10.0.0.2")
    for _ in range(6):
        guesser.post("/accounts/login/", {"login": user.email, "password": "wrong"})

    right = {"login": user.email, "password": "s3cret-long"}
    refused, accepted = (each.post("/accounts/login/", right) for each in (guesser, owner))

    assert (refused.status_code, accepted.status_code) == (200, 302)


@pytest.mark.django_db
def test_garbage_in_forwarded_header_is_ignored() -> None:
    form = {"login": "ann@example.com", "password": "wrong"}

    answer = Client().post("/accounts/login/", form, headers={"X-Forwarded-For": "x"})

    assert answer.status_code == 200


@pytest.mark.django_db
def test_signup_with_known_address_hashes_a_password_too(monkeypatch: pytest.MonkeyPatch) -> None:
    user = User.objects.create_user("ann@example.com", "s3cret-long")
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    hashed = Mock(return_value="!")
    monkeypatch.setattr("validibot.accounts.adapter.make_password", hashed)
    form = {"email": user.email, "password1": "s3cret-long", "password2": "s3cret-long"}

    Client().post("/accounts/signup/", form)

    assert hashed.call_count == len(mail.outbox) == 1
