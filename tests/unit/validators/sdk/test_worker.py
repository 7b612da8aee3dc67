"""Telling the worker, again and again where that helps."""

import json

import pytest
import responses
from google.auth.exceptions import DefaultCredentialsError
from validibot_shared.validations.envelopes import ValidationCallback, ValidationStatus

from validators.sdk import worker as worker_module
from validators.sdk.environment import Environment
from validators.sdk.worker import NotAccepted, origin, post

URL = "https://worker.run.app/api/v1/validation-callbacks/"
MESSAGE = ValidationCallback(
    run_id="r",
    callback_id="execution-attempt-a",
    callback_nonce="n" * 43,
    status=ValidationStatus.SUCCESS,
    result_uri="gs://b/output.json",
)


def call(**environment: str) -> list[float]:
    waits: list[float] = []
    post(
        MESSAGE.model_dump(mode="json"),
        url=URL,
        environment=Environment(input_uri="gs://b/input.json", **environment),  # type: ignore[arg-type]
        wait=waits.append,
    )
    return waits


@responses.activate
def test_the_body_has_exactly_the_five_fields() -> None:
    responses.post(URL, json={})

    assert call() == []

    assert json.loads(responses.calls[0].request.body or "") == {
        "run_id": "r",
        "callback_id": "execution-attempt-a",
        "callback_nonce": "n" * 43,
        "status": "success",
        "result_uri": "gs://b/output.json",
    }


@responses.activate
@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_is_an_acceptance(status: int) -> None:
    responses.post(URL, status=status)

    assert call() == []


@responses.activate
@pytest.mark.parametrize("status", [401, 409, 429, 500, 503])
def test_a_passing_trouble_is_tried_again(status: int) -> None:
    responses.post(URL, status=status)
    responses.post(URL, json={})

    assert call() == [0.5]


@responses.activate
@pytest.mark.parametrize("status", [302, 400, 403, 404])
def test_a_refusal_is_final(status: int) -> None:
    responses.post(URL, status=status)

    with pytest.raises(NotAccepted, match=str(status)):
        call()

    assert len(responses.calls) == 1


@responses.activate
def test_a_worker_that_stays_away_is_given_up_after_half_a_minute() -> None:
    with pytest.raises(NotAccepted):
        call()

    assert len(responses.calls) == 7


@responses.activate
def test_on_google_cloud_the_audience_is_the_workers_origin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "fetch_id_token", lambda _, audience: f"for {audience}")
    responses.post(URL, json={})

    call(deployment_target="gcp")

    header = responses.calls[0].request.headers["Authorization"]
    assert header == "Bearer for https://worker.run.app"


@responses.activate
def test_a_token_that_cannot_be_had_yet_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[object] = [
        DefaultCredentialsError("none yet"),  # type: ignore[no-untyped-call]
        "token",
    ]

    def fetch(*_: object) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(worker_module, "fetch_id_token", fetch)
    responses.post(URL, json={})

    assert call(deployment_target="gcp", token_audience="aud") == [0.5]


@responses.activate
def test_elsewhere_a_worker_key_is_sent_if_there_is_one() -> None:
    responses.post(URL, json={})

    call(worker_api_key="k")
    call()

    sent = [item.request.headers.get("Authorization") for item in responses.calls]
    assert sent == ["Worker-Key k", None]


def test_an_origin_keeps_the_port() -> None:
    assert origin("http://localhost:8001/x/?y") == "http://localhost:8001"
