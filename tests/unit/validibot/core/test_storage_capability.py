"""Making capabilities: which tokens are asked for, and how often."""

import datetime as dt
import json
from collections.abc import Iterator
from urllib.parse import parse_qs

import pytest
import responses
import time_machine
from google.oauth2.credentials import Credentials
from pytest_django import Settings

from validators.sdk.storage import StorageError
from validibot.core.storage import capability

ACCOUNT = "capability@p.iam.gserviceaccount.com"
IAM = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken"
STS = "https://sts.googleapis.com/v1/token"
NOON = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


@pytest.fixture
def google(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[responses.RequestsMock]:
    settings.CAPABILITY_ACCOUNT = ACCOUNT
    own = Credentials(token="own"), "p"  # type: ignore[no-untyped-call]
    monkeypatch.setattr(capability, "own_credentials", lambda: own)
    capability._account.cache_clear()
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        mock.post(IAM, json={"accessToken": "wide", "expireTime": "2026-05-01T13:00:00Z"})
        mock.post(STS, json={"access_token": "narrow"})
        yield mock
    capability._account.cache_clear()


@pytest.mark.usefixtures("google")
@time_machine.travel(NOON, tick=False)
def test_capability_is_for_one_folder() -> None:
    made = capability.mint("gs://bucket/runs/1")

    assert made.token == "narrow"
    assert (made.prefix, made.project) == ("gs://bucket/runs/1/", "p")
    assert made.expires_at == NOON + dt.timedelta(hours=1)


@time_machine.travel(NOON, tick=False)
def test_capability_is_narrowed_from_storage_account(google: responses.RequestsMock) -> None:
    capability.mint("gs://bucket/runs/1")

    impersonation, exchange = google.calls
    assert impersonation.request.headers["Authorization"] == "Bearer own"
    scopes = json.loads(impersonation.request.body or "")["scope"]
    assert scopes == ["https://www.googleapis.com/auth/devstorage.read_write"]
    form = parse_qs(str(exchange.request.body))
    assert form["subject_token"] == ["wide"]
    assert "runs/1/" in form["options"][0]


@pytest.mark.parametrize(("minutes", "tokens"), [(29, 1), (31, 2)])
def test_account_token_is_reused_for_half_its_life(
    google: responses.RequestsMock, minutes: int, tokens: int
) -> None:
    with time_machine.travel(NOON, tick=False) as clock:
        capability.mint("gs://bucket/runs/1")
        clock.shift(dt.timedelta(minutes=minutes))
        capability.mint("gs://bucket/runs/2")

    asked = [call.request.url for call in google.calls]
    assert (asked.count(IAM), asked.count(STS)) == (tokens, 2)


@time_machine.travel(NOON, tick=False)
def test_refused_id_token_raises_storage_error(google: responses.RequestsMock) -> None:
    google.post(IAM.replace("generateAccessToken", "generateIdToken"), json={}, status=403)

    with pytest.raises(StorageError, match=f"No ID token of {ACCOUNT} for https://worker.example"):
        capability.mint_id_token(ACCOUNT, "https://worker.example")


@pytest.mark.parametrize("url", [IAM, STS])
@time_machine.travel(NOON, tick=False)
def test_failed_token_request_raises_storage_error(
    google: responses.RequestsMock, url: str
) -> None:
    google.replace(responses.POST, url, status=403, json={"error": {"message": "no"}})

    with pytest.raises(StorageError, match="No capability for gs://bucket/runs/1/"):
        capability.mint("gs://bucket/runs/1")


def test_missing_account_setting_raises_storage_error(settings: Settings) -> None:
    settings.CAPABILITY_ACCOUNT = ""

    with pytest.raises(StorageError, match="set CAPABILITY_ACCOUNT"):
        capability.mint("gs://bucket/runs/1")


def test_token_requests_have_a_timeout() -> None:
    assert capability.request().keywords == {"timeout": 5.0}


@pytest.mark.parametrize(("status", "permanent"), [(403, True), (404, True), (503, False)])
@time_machine.travel(NOON, tick=False)
def test_refused_account_names_account_and_permission(
    google: responses.RequestsMock, status: int, permanent: bool
) -> None:
    answer = {"error": {"code": status, "message": "denied"}}
    google.replace(responses.POST, IAM, status=status, json=answer)

    with pytest.raises(StorageError) as caught:
        capability.mint("gs://bucket/runs/1")

    assert isinstance(caught.value, capability.CapabilityRefused) == permanent
    if permanent:
        assert f"CAPABILITY_ACCOUNT {ACCOUNT}" in str(caught.value)
        assert "iam.serviceAccounts.getAccessToken" in str(caught.value)
