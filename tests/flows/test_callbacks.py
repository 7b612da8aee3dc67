"""Invalid callbacks and outputs, through the worker's real endpoints.

No run is lost, none ends twice, and no request is answered by a 500. The unit tests of callbacks try
all other bodies, changes and outputs.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.flows.attempt import CALLBACKS, FlowAttempt
from tests.flows.identity import WORKER, FlowIdentity
from tests.flows.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")


@pytest.fixture(scope="module")
def opened(foreign: Stack) -> FlowAttempt:
    """An attempt that stays open: the tests post only invalid callbacks for it."""
    return FlowAttempt.launch(foreign)


@pytest.fixture
def attempt(foreign: Stack) -> FlowAttempt:
    return FlowAttempt.launch(foreign)


def _untouched(attempt: FlowAttempt) -> None:
    assert attempt.stack.get_run(attempt.run)["state"] == "RUNNING"
    assert "called_back" not in attempt.stack.events(attempt.run)


def _refused(answer: httpx.Response, *statuses: int) -> None:
    assert answer.status_code in statuses, answer.text
    assert answer.json()["detail"]


# Missing and invalid tokens, and tokens of unknown accounts.


def test_ingress_without_google_token_is_refused(opened: FlowAttempt) -> None:
    assert opened.post(token="", json=opened.callback()).status_code in (401, 403)
    _untouched(opened)


def test_ingress_refuses_account_without_invoker_role(opened: FlowAttempt) -> None:
    token = FlowIdentity(opened.stack, "web").id_token()

    assert opened.post(token=token, json=opened.callback()).status_code == 403
    _untouched(opened)


def test_token_for_another_audience_is_refused(opened: FlowAttempt) -> None:
    token = opened.identity.id_token(CALLBACKS)

    assert opened.post(token=token, json=opened.callback()).status_code in (401, 403)
    _untouched(opened)


@pytest.mark.parametrize("account", ["", "web"])
def test_worker_verifies_tokens_behind_ingress(opened: FlowAttempt, account: str) -> None:
    door = f"{opened.stack.facts['urls']['worker']}/internal/callbacks/"
    token = FlowIdentity(opened.stack, account).id_token() if account else ""

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    _refused(httpx.post(door, json=opened.callback(), headers=headers), 401)
    _untouched(opened)


# Invalid callbacks from a known account.


@pytest.mark.parametrize(
    ("changes", "status"), [({"callback_nonce": "n" * 43}, 403), ({"surplus": True}, 400)]
)
def test_forged_callback_changes_nothing(
    opened: FlowAttempt, changes: dict[str, Any], status: int
) -> None:
    _refused(opened.call_back(**changes), status)
    _untouched(opened)


@pytest.mark.parametrize(("body", "status"), [(b"", 400), (b" " * 5_000_000, 413)])
def test_invalid_callback_is_refused_with_message(
    opened: FlowAttempt, body: bytes, status: int
) -> None:
    _refused(opened.post(content=body), status)
    _untouched(opened)


def test_validator_token_is_refused_by_task_endpoint(opened: FlowAttempt) -> None:
    task = {"task": "validibot.runs.tasks.execute_run", "args": [opened.run], "kwargs": {}}

    _refused(opened.post(url=f"{WORKER}/internal/tasks/", json=task), 403)
    _untouched(opened)


# Valid callbacks at the wrong time or more than once.


def test_eight_concurrent_callbacks_are_applied_once(attempt: FlowAttempt) -> None:
    attempt.store(attempt.output())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: attempt.call_back(), range(8)))

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert [answer.json() for answer in answers].count({"message": "Processed."}) == 1
    _ended_with(attempt, "FAIL", findings=["The roof leaks."])


# Invalid outputs.


def _ended_with(
    attempt: FlowAttempt, result: str, *, error: str = "", findings: list[str] | None = None
) -> None:
    run = attempt.stack.finished(attempt.run)
    assert run["result"] == result, run
    assert error in run["error"], run
    found = [issue["message"] for step in run["steps"] for issue in step["issues"]]
    assert found == (findings or [])
    ends = ("passed", "failed", "error", "timed_out", "canceled")
    assert sum(kind in ends for kind in attempt.stack.events(attempt.run)) == 1


def test_output_of_other_run_ends_only_own_run(attempt: FlowAttempt, opened: FlowAttempt) -> None:
    _refused(attempt.call_back(result_uri=opened.output_uri), 400)

    _ended_with(attempt, "ERROR", error="is not the output of its attempt")
    assert attempt.call_back().json()["idempotent_replayed"] is True
    _untouched(opened)


@pytest.mark.parametrize(
    ("content", "error"), [(None, "stored no output"), (b"no JSON", "is malformed")]
)
def test_unusable_output_ends_run_with_error(
    attempt: FlowAttempt, content: bytes | None, error: str
) -> None:
    if content:
        attempt.store(content)

    _refused(attempt.call_back(), 400)

    _ended_with(attempt, "ERROR", error=error)


def test_unusual_output_is_kept_as_far_as_possible(attempt: FlowAttempt) -> None:
    place = {"line": 10**18, "column": -1, "path": "\0" * 300}
    odd = {"severity": "ERROR", "text": "NUL \0", "code": "\0" * 500, "location": place}
    attempt.store(attempt.output(messages=[odd] * 2000))

    assert attempt.call_back().status_code == 200

    run = attempt.stack.finished(attempt.run)
    assert run["result"] == "FAIL"
    (step,) = run["steps"]
    assert len(step["issues"]) == 1001
    assert step["issues"][0]["message"] == "NUL �"
