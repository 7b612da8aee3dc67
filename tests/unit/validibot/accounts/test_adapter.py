"""Mails about accounts."""

import pytest
from django.core import mail
from django.test import Client


@pytest.mark.django_db
def test_the_mail_to_confirm_an_address_is_signed_by_the_product() -> None:
    form = {"email": "ann@example.com", "password1": "s3cret-long", "password2": "s3cret-long"}
    Client().post("/accounts/signup/", form)

    assert mail.outbox[0].subject == "Please Confirm Your Email Address"
    assert "Hello from Validibot!" in mail.outbox[0].body
    assert "http://testserver/accounts/confirm-email/" in mail.outbox[0].body
