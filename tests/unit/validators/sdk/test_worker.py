"""Callbacks and their repetition."""

import json
from concurrent.futures import Future
from itertools import count

import pytest
import responses
from google.auth.exceptions import DefaultCredentialsError
from validibot_shared.validations.envelopes import ValidationCallback, ValidationStatus

from validators.sdk import worker as worker_module
from validators.sdk.environment import ValidatorEnvironment
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
        environment=ValidatorEnvironment(input_uri="gs://b/input.json", **environment),  # type: ignore[arg-type]
        wait=waits.append,
    )
    return waits


@responses.activate
def test_callback_has_exactly_five_fields() -> None:
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
def test_callback_carries_the_trace_of_its_job() -> None:
    responses.post(URL, json={})
    call(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

    assert responses.calls[0].request.headers["traceparent"].startswith("00-0af7651916cd43dd")


@responses.activate
@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_accepts_callback(status: int) -> None:
    responses.post(URL, status=status)

    assert call() == []


@responses.activate
@pytest.mark.parametrize("status", [401, 409, 429, 500, 503])
def test_temporary_error_is_retried(status: int) -> None:
    responses.post(URL, status=status)
    responses.post(URL, json={})

    assert call() == [0.5]


@responses.activate
@pytest.mark.parametrize("status", [302, 400, 403, 404])
def test_refusal_is_not_retried(status: int) -> None:
    responses.post(URL, status=status)

    with pytest.raises(NotAccepted, match=str(status)):
        call()

    assert len(responses.calls) == 1


@responses.activate
def test_retries_end_after_half_a_minute() -> None:
    with pytest.raises(NotAccepted):
        call()

    assert len(responses.calls) == 7


@responses.activate
def test_slow_worker_ends_retries_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer takes 30 seconds: after the second one no repetition starts."""
    clock = count(0, 30)
    monkeypatch.setattr(worker_module, "monotonic", lambda: next(clock))
    responses.post(URL, status=503)

    with pytest.raises(NotAccepted):
        call()

    assert len(responses.calls) == 2


@responses.activate
def test_gcp_audience_is_origin_of_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "fetch_id_token", lambda _, audience: f"for {audience}")
    responses.post(URL, json={})

    call(deployment_target="gcp")

    header = responses.calls[0].request.headers["Authorization"]
    assert header == "Bearer for https://worker.run.app"


@responses.activate
def test_unavailable_token_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_worker_key_is_sent_outside_gcp() -> None:
    responses.post(URL, json={})

    call(worker_api_key="k")
    call()

    sent = [item.request.headers.get("Authorization") for item in responses.calls]
    assert sent == ["Worker-Key k", None]


@responses.activate
def test_given_id_token_is_sent_without_metadata_server() -> None:
    responses.post(URL, json={})

    call(worker_id_token="t", deployment_target="gcp")

    assert responses.calls[0].request.headers["Authorization"] == "Bearer t"


def test_origin_keeps_port() -> None:
    assert origin("http://localhost:8001/x/?y") == "http://localhost:8001"


@responses.activate
def test_early_authorization_is_used_once() -> None:
    responses.post(URL, status=401)
    responses.post(URL, json={})
    early: Future[dict[str, str]] = Future()
    early.set_result({"Authorization": "Bearer expired"})

    post(
        {},
        url=URL,
        environment=ValidatorEnvironment(input_uri="gs://b/input.json", worker_api_key="k"),
        wait=lambda _: None,
        early=early,
    )

    sent = [call.request.headers["Authorization"] for call in responses.calls]
    assert sent == ["Bearer expired", "Worker-Key k"]
