"""Renewal of capabilities, as far as Google is not involved."""

import datetime as dt
import json

import pytest

from tests.unit.validibot.runs.scripted import ScriptedBackend, ScriptedProvider, callback_of
from validibot.core.storage import StorageError
from validibot.core.storage.capability import StorageCapability
from validibot.runs import callback
from validibot.runs.execute import execute
from validibot.runs.models import Attempt, Run


@pytest.fixture
def question(provider: ScriptedProvider, container_run: Run) -> bytes:
    """The request of a launched attempt's validator."""
    execute(container_run.pk)
    return callback_of(provider.requests[0]).model_dump_json().encode()


def test_unconfined_attempt_cannot_renew_capability(question: bytes) -> None:
    detail = "The attempt was given no capability; there is none to renew."
    assert callback.renew_capability(question) == (400, {"detail": detail})


def test_running_attempt_gets_capability_for_its_folder(
    question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = dt.datetime(2030, 1, 2, tzinfo=dt.UTC)

    def make(folder: str) -> StorageCapability:
        return StorageCapability("t0", until, f"{folder}/", "project")

    monkeypatch.setattr(ScriptedBackend, "confines", True)
    monkeypatch.setattr(callback, "mint", make)

    assert callback.renew_capability(question) == (
        200,
        {
            "access_token": "t0",
            "expires_at": "2030-01-02T00:00:00+00:00",
            "allowed_prefix": f"{Attempt.objects.get().bundle_uri}/",
        },
    )


@pytest.mark.parametrize("state", ["PENDING", "COMPLETED"])
def test_attempt_that_does_not_run_gets_no_capability(question: bytes, state: str) -> None:
    Attempt.objects.update(state=state)

    detail = "The attempt has ended; it gets no capability any more."
    assert callback.renew_capability(question) == (409, {"detail": detail})


def test_invalid_capability_requests_are_refused(question: bytes) -> None:
    status, answer = callback.renew_capability(b"[]")
    assert (status, answer["detail"]) == (
        400,
        "Invalid capability request: body: Input should be an object.",
    )

    forged = json.loads(question) | {"callback_nonce": "x"}
    detail = "The callback_nonce is wrong."
    assert callback.renew_capability(json.dumps(forged).encode()) == (403, {"detail": detail})


def test_renewal_of_unavailable_capability_returns_503(
    question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: str) -> None:
        raise StorageError("no token")

    monkeypatch.setattr(ScriptedBackend, "confines", True)
    monkeypatch.setattr(callback, "mint", fail)

    assert callback.renew_capability(question) == (503, {"detail": "no token"})
