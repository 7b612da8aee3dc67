"""Secrets of second factors: encrypted in the database, none readable elsewhere."""

import json
from collections.abc import Iterator

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.utils import timezone
from pytest_django import Settings

from tests.factories import UserFactory
from validibot.accounts.second_factors import decrypt, encrypt

pytestmark = pytest.mark.django_db
SECRET = "JBSWY3DPEHPK3PXP"


@pytest.fixture(autouse=True)
def _stopped_clock() -> Iterator[None]:
    """Keep a code valid until it is used: it is another one every 30 s."""
    with time_machine.travel(timezone.now(), tick=False):
        yield


def code() -> str:
    [counter, *_] = yield_hotp_counters_from_time()
    return str(format_hotp_value(hotp_value(SECRET, counter)))


def test_secrets_are_stored_encrypted_and_codes_are_accepted() -> None:
    user = UserFactory.create()
    totp, codes = TOTP.activate(user, SECRET), RecoveryCodes.activate(user)

    stored = json.dumps(list(Authenticator.objects.values_list("data", flat=True)))

    assert stored.count("gAAAA") == 2
    assert SECRET not in stored
    assert totp.validate_code(code())
    assert codes.validate_code(codes.get_unused_codes()[0])


def test_other_pepper_accepts_no_code(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    totp = TOTP.activate(UserFactory.create(), SECRET)
    settings.API_KEY_PEPPER = "another"

    assert not totp.validate_code(code())
    assert "API_KEY_PEPPER was changed" in caplog.text


def test_secret_from_before_encryption_is_read_as_it_is() -> None:
    assert decrypt(SECRET) == SECRET
    assert decrypt(encrypt(SECRET)) == SECRET
