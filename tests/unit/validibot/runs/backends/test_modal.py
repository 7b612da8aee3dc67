"""Launches at Modal: answers, lost answers, claims and states, with the stand-in for its package."""

import datetime as dt
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from tests import stand_in_modal
from tests.stand_in_modal import exception, server
from validators.sdk.storage.claim import claim
from validibot.core.storage import StorageError, get_storage
from validibot.core.storage.capability import CapabilityRefused, StorageCapability
from validibot.runs.backends import modal
from validibot.runs.backends.base import LaunchError, LaunchRequest, Phase, StateUnavailable
from validibot.runs.backends.modal import ModalBackend

OPTIONS = {"app": "validators", "caller_account": "validator-modal@p.example"}
worked: list[str] = []


def _work(environment: dict[str, str]) -> int:
    """Claim the attempt, as a validator does, and note that this call works on it."""
    call = str(stand_in_modal.current_function_call_id())
    folder = environment["VALIDIBOT_INPUT_URI"].rpartition("/")[0]
    if claim(get_storage(folder), folder, call) != call:
        return 4
    worked.append(call)
    return 0


@pytest.fixture(autouse=True)
def _modal(monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "modal", stand_in_modal)
    settings.DATA_ROOT = tmp_path.as_uri()
    settings.WORKER_URL = "https://worker.example"
    end = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    monkeypatch.setattr(
        modal, "mint", lambda folder: StorageCapability("token", end, f"{folder}/", "p")
    )
    monkeypatch.setattr(modal, "mint_id_token", lambda account, url: f"{account} for {url}")
    app = stand_in_modal.App("validators")
    app.function(name="job")(_work)
    app.deploy()
    yield
    server.release()
    server.join()
    stand_in_modal.reset()
    worked.clear()


def backend() -> ModalBackend:
    return ModalBackend("default", {"OPTIONS": OPTIONS})


@pytest.fixture
def request_(tmp_path: Path) -> LaunchRequest:
    return LaunchRequest(
        run_id=uuid4(),
        attempt_id=uuid4(),
        job="job",
        image="image",
        command=["python"],
        input_uri=f"{tmp_path.as_uri()}/1/input.json",
        output_uri=f"{tmp_path.as_uri()}/1/output.json",
        capability_url="https://worker.example/internal/capabilities/",
        timeout_seconds=77,
        memory_mb=64,
    )


def find(request: LaunchRequest) -> Any:
    return backend().find(job=request.job, input_uri=request.input_uri)


def test_launch_gives_capability_and_id_token(
    request_: LaunchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, str]] = []
    monkeypatch.setitem(server.functions, ("validators", "job"), (told.append, {"timeout": 300}))

    launched = backend().launch(request_)

    server.join()
    assert launched.execution == "fc-1"
    assert told[0]["VALIDIBOT_GCS_ACCESS_TOKEN"] == "token"
    assert told[0]["VALIDIBOT_WORKER_ID_TOKEN"] == (
        "validator-modal@p.example for https://worker.example"
    )


def test_launched_call_works_and_succeeds(request_: LaunchRequest) -> None:
    launched = backend().launch(request_)

    server.join()
    assert backend().state(launched.execution).phase is Phase.SUCCEEDED
    assert worked == [launched.execution]
    assert find(request_).execution == launched.execution


def test_missing_package_error_names_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modal", None)

    with pytest.raises(ImproperlyConfigured, match=r"requirements/modal\.txt.*EXTRA=modal"):
        backend()


@pytest.mark.parametrize(
    ("method", "error", "permanent", "not_accepted"),
    [
        ("hydrate", exception.AuthError("no token"), True, True),
        ("hydrate", exception.ServiceError("gone"), False, True),
        ("hydrate", OSError("no route"), False, True),
        ("spawn before", exception.InvalidError("bad"), True, True),
        ("spawn", exception.ConflictError("busy"), False, False),
        ("spawn before", exception.ResourceExhaustedError("quota"), False, True),
        ("spawn", exception.ServiceError("no answer"), False, False),
    ],
)  # fmt: skip
def test_launch_error_says_whether_call_can_exist(
    request_: LaunchRequest, method: str, error: Exception, permanent: bool, not_accepted: bool
) -> None:
    server.errors[method] = error

    with pytest.raises(LaunchError, match=str(error)) as raised:
        backend().launch(request_)

    assert (raised.value.permanent, raised.value.not_accepted) == (permanent, not_accepted)


@pytest.mark.parametrize(
    ("error", "permanent"),
    [(CapabilityRefused("no role"), True), (StorageError("no answer"), False)],
)
def test_launch_without_tokens_is_not_accepted(
    request_: LaunchRequest,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    permanent: bool,
) -> None:
    def refuse(account: str, url: str) -> str:
        raise error

    monkeypatch.setattr(modal, "mint_id_token", refuse)

    with pytest.raises(LaunchError) as raised:
        backend().launch(request_)

    assert (raised.value.permanent, raised.value.not_accepted) == (permanent, True)
    assert not server.calls


def test_lost_answer_of_begun_call_is_found(request_: LaunchRequest) -> None:
    server.errors["spawn"] = exception.ServiceError("no answer")
    with pytest.raises(LaunchError):
        backend().launch(request_)
    server.join()

    found = find(request_)

    assert (found.execution, found.phase) == ("fc-1", Phase.SUCCEEDED)


def test_lost_answer_without_call_is_absent(request_: LaunchRequest) -> None:
    server.errors["spawn before"] = exception.ServiceError("no answer")
    with pytest.raises(LaunchError):
        backend().launch(request_)

    assert find(request_).phase is Phase.ABSENT
    assert find(request_).phase is Phase.ABSENT


def test_withdrawn_call_does_no_work_when_it_begins(request_: LaunchRequest) -> None:
    server.holds = True
    server.errors["spawn"] = exception.ServiceError("no answer")
    with pytest.raises(LaunchError):
        backend().launch(request_)
    assert find(request_).phase is Phase.ABSENT

    server.release()

    server.join()
    assert worked == []
    assert backend().state("fc-1").message == "The validator ended with exit code 4."


def test_launch_withdrawn_meanwhile_is_not_accepted(request_: LaunchRequest) -> None:
    server.holds = True
    assert find(request_).phase is Phase.ABSENT

    with pytest.raises(LaunchError, match="withdrawn") as raised:
        backend().launch(request_)

    assert raised.value.not_accepted
    assert not raised.value.permanent
    assert server.calls["fc-1"].canceled


def test_repeated_request_of_client_leaves_one_call(request_: LaunchRequest) -> None:
    folder = request_.input_uri.rpartition("/")[0]
    claim(get_storage(folder), folder, "fc-of-first-request")
    server.holds = True

    launched = backend().launch(request_)

    assert launched.execution == "fc-of-first-request"
    assert server.calls["fc-1"].canceled


def test_launch_whose_claim_fails_has_no_answer(
    request_: LaunchRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise StorageError("no answer")

    monkeypatch.setattr(modal, "claim", refuse)

    with pytest.raises(LaunchError) as raised:
        backend().launch(request_)
    with pytest.raises(StateUnavailable):
        find(request_)

    assert not raised.value.not_accepted


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (TimeoutError(), Phase.RUNNING),
        (exception.FunctionTimeoutError("late"), Phase.TIMED_OUT),
        (exception.OutputExpiredError(), Phase.FAILED),
        (exception.RemoteError("killed"), Phase.FAILED),
        (exception.NotFoundError("no call"), Phase.FAILED),
        (ValueError("raised by the function"), Phase.FAILED),
    ],
)
def test_result_of_call_gives_phase(error: Exception, phase: Phase) -> None:
    server.errors["get"] = error

    state = backend().state("fc-7")

    assert (state.phase, state.execution) == (phase, "fc-7")


@pytest.mark.parametrize("error", [exception.ServiceError("down"), OSError("no route")])
@pytest.mark.parametrize("ask", [ModalBackend.state, ModalBackend.cancel])
def test_unanswered_question_is_unavailable(
    error: Exception, ask: Callable[[ModalBackend, str], object]
) -> None:
    server.errors["get"] = error

    with pytest.raises(StateUnavailable, match="fc-7"):
        ask(backend(), "fc-7")


def test_cancelled_call_ends_and_is_not_cancelled_again(request_: LaunchRequest) -> None:
    server.holds = True
    execution = backend().launch(request_).execution

    assert backend().cancel(execution)
    assert backend().state(execution).phase is Phase.FAILED
    assert not backend().cancel(execution)
    server.release()
    server.calls[execution].wait_for_thread()
    assert worked == []


def test_function_that_is_not_published_is_named_with_the_command() -> None:
    backend().check_job("job")
    with pytest.raises(
        StateUnavailable, match=r"^validators/other: .*`python -m deploy modal STAGE`\.$"
    ):
        backend().check_job("other")


def test_missing_capability_account_is_a_problem(settings: Settings) -> None:
    settings.CAPABILITY_ACCOUNT = ""
    [problem] = backend().check()
    settings.CAPABILITY_ACCOUNT = "capability@p.example"

    assert "CAPABILITY_ACCOUNT is empty" in problem.msg
    assert backend().check() == []
