"""Capability of an attempt: its variables, its limits, its renewal."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
import responses
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from validibot_shared.validations.envelopes import ValidationInputEnvelope

from validators.sdk.environment import EnvironmentInvalid, ValidatorEnvironment, read_environment
from validators.sdk.storage import StorageError, StorageOptions, open_storage
from validators.sdk.worker import Capability

URL = "https://worker.run.app/internal/capabilities/"
GIVEN = {
    "VALIDIBOT_INPUT_URI": "gs://b/runs/1/input.json",
    "VALIDIBOT_GCS_CAPABILITY_REQUIRED": "true",
    "VALIDIBOT_GCS_ACCESS_TOKEN": "small",
    "VALIDIBOT_GCS_ACCESS_TOKEN_EXPIRY": "2020-01-01T00:00:00+00:00",
    "VALIDIBOT_GCS_ALLOWED_PREFIX": "gs://b/runs/1/",
    "VALIDIBOT_GCS_PROJECT_ID": "p",
    "VALIDIBOT_GCS_CAPABILITY_REFRESH_URL": URL,
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> ValidatorEnvironment:
    return _read(monkeypatch, GIVEN)


@pytest.fixture
def capability(environment: ValidatorEnvironment) -> Capability:
    assert environment.grant
    made = Capability(environment.grant, environment, wait=lambda _: None)
    context = SimpleNamespace(callback_id="c", callback_nonce="n")
    made.prove(cast("ValidationInputEnvelope", SimpleNamespace(run_id="r", context=context)))
    return made


def _read(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> ValidatorEnvironment:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    return read_environment([])


def _answer(**changes: str) -> dict[str, Any]:
    return {
        "access_token": "next",
        "expires_at": "2030-01-01T01:00:00+01:00",
        "allowed_prefix": "gs://b/runs/1/",
    } | changes


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"VALIDIBOT_GCS_ALLOWED_PREFIX": ""}, "VALIDIBOT_GCS_ALLOWED_PREFIX is not set"),
        ({"VALIDIBOT_GCS_CAPABILITY_REFRESH_URL": "http://worker/"}, "must begin with https://"),
        ({"VALIDIBOT_GCS_ACCESS_TOKEN_EXPIRY": "soon"}, "VALIDIBOT_GCS_ACCESS_TOKEN_EXPIRY: "),
        ({"VALIDIBOT_GCS_ACCESS_TOKEN_EXPIRY": "2030-01-01T00:00:00"}, "has no time zone"),
    ],
)
def test_incomplete_capability_error_names_variable(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], complaint: str
) -> None:
    with pytest.raises(EnvironmentInvalid, match=complaint):
        _read(monkeypatch, GIVEN | changes)


def test_required_but_missing_capability_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentInvalid, match="no capability is given"):
        _read(monkeypatch, dict(list(GIVEN.items())[:2]))


def test_files_outside_prefix_are_refused_locally(capability: Capability) -> None:
    with pytest.raises(StorageError, match="outside of gs://b/runs/1/"):
        open_storage("gs://b/runs/12/x", StorageOptions(access=capability.access)).read(
            "gs://b/runs/12/x", limit=1
        )


@responses.activate
def test_expired_token_is_renewed_with_proof(capability: Capability) -> None:
    responses.post(
        URL,
        json=_answer(),
        match=[
            responses.matchers.json_params_matcher(
                {"run_id": "r", "callback_id": "c", "callback_nonce": "n"}
            )
        ],
    )

    capability.credentials.refresh(Request())  # type: ignore[no-untyped-call]

    assert capability.credentials.token == "next"
    assert capability.credentials.expiry == datetime(2030, 1, 1, tzinfo=UTC).replace(tzinfo=None)


@responses.activate
@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (409, {}),
        (200, {}),
        (200, _answer(allowed_prefix="gs://b/")),
        (200, _answer(expires_at="?")),
    ],
)
def test_refused_renewal_raises_refresh_error(
    capability: Capability, status: int, answer: dict[str, Any]
) -> None:
    responses.post(URL, json=answer, status=status)

    with pytest.raises(RefreshError, match="was not renewed"):
        capability.credentials.refresh(Request())  # type: ignore[no-untyped-call]


@responses.activate
def test_renewal_survives_short_outage(capability: Capability) -> None:
    responses.post(URL, status=503)
    responses.post(URL, json=_answer())

    capability.credentials.refresh(Request())  # type: ignore[no-untyped-call]

    assert capability.credentials.token == "next"


@responses.activate
def test_renewal_after_end_is_not_repeated(capability: Capability) -> None:
    responses.post(URL, status=409)

    with pytest.raises(RefreshError, match="answered 409"):
        capability.credentials.refresh(Request())  # type: ignore[no-untyped-call]

    assert len(responses.calls) == 1


@responses.activate
def test_renewal_needs_envelope(environment: ValidatorEnvironment) -> None:
    assert environment.grant
    made = Capability(environment.grant, environment)

    assert made.credentials.valid
    with pytest.raises(RefreshError, match="expired at 2020-01-01 00:00:00"):
        made.credentials.refresh(Request())  # type: ignore[no-untyped-call]


def test_token_expires_once_envelope_is_read(capability: Capability) -> None:
    assert capability.credentials.expired
