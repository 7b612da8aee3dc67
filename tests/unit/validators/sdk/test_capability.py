"""The right to an attempt's files: read from the environment, kept to, renewed."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
import responses
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request
from validibot_shared.validations.envelopes import ValidationInputEnvelope

from validators.sdk.capability import Capability
from validators.sdk.environment import Environment, EnvironmentInvalid, read_environment
from validators.sdk.storage import StorageError, StorageOptions, open_storage

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
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    return _read(monkeypatch, GIVEN)


@pytest.fixture
def capability(environment: Environment) -> Capability:
    assert environment.grant
    made = Capability(environment.grant, environment, wait=lambda _: None)
    context = SimpleNamespace(callback_id="c", callback_nonce="n")
    made.prove(cast("ValidationInputEnvelope", SimpleNamespace(run_id="r", context=context)))
    return made


def _read(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Environment:
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
        ({"VALIDIBOT_GCS_ACCESS_TOKEN_EXPIRY": "2030-01-01T00:00:00"}, "says no time zone"),
    ],
)
def test_half_a_capability_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], complaint: str
) -> None:
    with pytest.raises(EnvironmentInvalid, match=complaint):
        _read(monkeypatch, GIVEN | changes)


def test_a_capability_that_is_required_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentInvalid, match="no capability is given"):
        _read(monkeypatch, dict(list(GIVEN.items())[:2]))


def test_other_files_are_refused_before_anybody_is_asked(capability: Capability) -> None:
    with pytest.raises(StorageError, match="outside of gs://b/runs/1/"):
        open_storage("gs://b/runs/12/x", StorageOptions(access=capability.access)).read(
            "gs://b/runs/12/x", limit=1
        )


@responses.activate
def test_an_expired_token_is_renewed_by_the_envelopes_proof(capability: Capability) -> None:
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
def test_a_refusal_to_renew_is_no_token(
    capability: Capability, status: int, answer: dict[str, Any]
) -> None:
    responses.post(URL, json=answer, status=status)

    with pytest.raises(RefreshError, match="was not renewed"):
        capability.credentials.refresh(Request())  # type: ignore[no-untyped-call]


@responses.activate
def test_a_worker_that_is_away_for_a_moment_costs_no_right(capability: Capability) -> None:
    responses.post(URL, status=503)
    responses.post(URL, json=_answer())

    capability.credentials.refresh(Request())  # type: ignore[no-untyped-call]

    assert capability.credentials.token == "next"


@responses.activate
def test_of_an_attempt_that_has_ended_is_asked_once(capability: Capability) -> None:
    responses.post(URL, status=409)

    with pytest.raises(RefreshError, match="answered 409"):
        capability.credentials.refresh(Request())  # type: ignore[no-untyped-call]

    assert len(responses.calls) == 1


@responses.activate
def test_nothing_is_renewed_before_the_envelope_is_read(environment: Environment) -> None:
    assert environment.grant
    made = Capability(environment.grant, environment)

    assert made.credentials.valid
    with pytest.raises(RefreshError, match="expired at 2020-01-01 00:00:00"):
        made.credentials.refresh(Request())  # type: ignore[no-untyped-call]


def test_once_the_envelope_is_read_the_token_ends_when_it_ends(capability: Capability) -> None:
    assert capability.credentials.expired
