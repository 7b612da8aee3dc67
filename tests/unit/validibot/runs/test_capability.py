"""Renewal of capabilities, as far as Google is not involved."""

import pytest

from tests.unit.validibot.runs.scripted import Provider, ScriptedBackend, callback_of
from validibot.core.storage import StorageError
from validibot.runs import callback
from validibot.runs.execute import execute
from validibot.runs.models import Run


@pytest.fixture
def question(provider: Provider, container_run: Run) -> bytes:
    """The request of a launched attempt's validator."""
    execute(container_run.pk)
    return callback_of(provider.requests[0]).model_dump_json().encode()


def test_unconfined_attempt_cannot_renew_capability(question: bytes) -> None:
    status, answer = callback.renew_capability(question)

    assert (status, "none to renew" in answer["detail"]) == (400, True)


def test_a_right_that_cannot_be_made_now_is_asked_for_again(
    question: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: str) -> None:
        raise StorageError("no token")

    monkeypatch.setattr(ScriptedBackend, "confines", True)
    monkeypatch.setattr(callback, "mint", fail)

    assert callback.renew_capability(question) == (503, {"detail": "no token"})
