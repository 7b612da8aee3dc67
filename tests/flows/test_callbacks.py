"""Invalid callbacks and outputs, through the worker's real endpoints.

No run is lost, none ends twice, and no request is answered by a 500.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.flows.attempt import CALLBACKS, Attempt
from tests.flows.identity import WORKER, Identity
from tests.flows.stack import Stack

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def opened(foreign: Stack) -> Attempt:
    """An attempt that stays open: the tests post only invalid callbacks for it."""
    return Attempt.launch(foreign)


@pytest.fixture
def attempt(foreign: Stack) -> Attempt:
    return Attempt.launch(foreign)


def _untouched(attempt: Attempt) -> None:
    assert attempt.stack.get_run(attempt.run)["state"] == "RUNNING"
    assert "called_back" not in attempt.stack.events(attempt.run)


def _refused(answer: httpx.Response, *statuses: int) -> None:
    assert answer.status_code in statuses, answer.text
    assert answer.json()["detail"]


# Missing and invalid tokens, and tokens of unknown accounts.


@pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"])
def test_ingress_without_google_token_is_refused(opened: Attempt, token: str) -> None:
    assert opened.post(token=token, json=opened.callback()).status_code in (401, 403)
    _untouched(opened)


@pytest.mark.parametrize("account", ["web", "worker"])
def test_ingress_refuses_account_without_invoker_role(opened: Attempt, account: str) -> None:
    token = Identity(opened.stack, account).id_token()

    assert opened.post(token=token, json=opened.callback()).status_code == 403
    _untouched(opened)


@pytest.mark.parametrize("audience", [CALLBACKS, "https://elsewhere.example", f"{WORKER}/"])
def test_token_for_another_audience_is_refused(opened: Attempt, audience: str) -> None:
    token = opened.identity.id_token(audience)

    assert opened.post(token=token, json=opened.callback()).status_code in (401, 403)
    _untouched(opened)


@pytest.mark.parametrize("account", ["", "web", "worker"])
def test_worker_verifies_tokens_behind_ingress(opened: Attempt, account: str) -> None:
    door = f"{opened.stack.facts['urls']['worker']}/internal/callbacks/"
    token = Identity(opened.stack, account).id_token() if account else ""

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    _refused(httpx.post(door, json=opened.callback(), headers=headers), 401)
    _untouched(opened)


# Invalid callbacks from a known account.


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"callback_nonce": "n" * 43}, 403),
        ({"callback_nonce": "short"}, 400),
        ({"callback_nonce": "\0" * 43}, 400),
        ({"callback_id": "execution-attempt-00000000-0000-4000-8000-000000000000"}, 400),
        ({"callback_id": "execution-attempt-'; DROP TABLE runs_run; --"}, 400),
        ({"callback_id": "\0"}, 400),
        ({"run_id": "00000000-0000-4000-8000-000000000000"}, 400),
        ({"run_id": 7}, 400),
        ({"status": "splendid"}, 400),
        ({"surplus": True}, 400),
    ],
)
def test_forged_callback_changes_nothing(
    opened: Attempt, changes: dict[str, Any], status: int
) -> None:
    _refused(opened.call_back(**changes), status)
    _untouched(opened)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"this is no JSON", 400),
        (b"\xff\xfe\x00", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'{"run_id": "\\ud800"}', 400),
        (b"[" * 30_000 + b"]" * 30_000, 400),
        (b'{"run_id": "' + b"x" * 70_000 + b'"}', 413),
        (b" " * 5_000_000, 413),
    ],
)
def test_invalid_callback_is_refused_with_message(
    opened: Attempt, body: bytes, status: int
) -> None:
    _refused(opened.post(content=body), status)
    _untouched(opened)


def test_validator_token_is_refused_by_task_endpoint(opened: Attempt) -> None:
    task = {"task": "validibot.runs.tasks.execute_run", "args": [opened.run], "kwargs": {}}

    _refused(opened.post(url=f"{WORKER}/internal/tasks/", json=task), 403)
    _untouched(opened)


# Valid callbacks at the wrong time or more than once.


def test_eight_concurrent_callbacks_are_applied_once(attempt: Attempt) -> None:
    attempt.store(attempt.output())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: attempt.call_back(), range(8)))

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert [answer.json() for answer in answers].count({"message": "Processed."}) == 1
    _ended_with(attempt, "FAIL", findings=["The roof leaks."])


def test_repeated_callback_is_acknowledged_without_effect(attempt: Attempt) -> None:
    attempt.store(attempt.output())
    assert attempt.call_back().status_code == 200
    before = attempt.stack.finished(attempt.run)

    answer = attempt.call_back(status="failed_runtime")

    assert answer.status_code == 200
    assert answer.json()["idempotent_replayed"] is True
    assert attempt.stack.get_run(attempt.run) == before


def test_late_callback_is_acknowledged_without_effect(attempt: Attempt) -> None:
    assert attempt.stack.api.post(f"runs/{attempt.run}/cancel/").status_code == 200
    attempt.store(attempt.output())

    answer = attempt.call_back()

    assert answer.status_code == 200
    assert answer.json()["late_callback_ignored"] is True
    _ended_with(attempt, "CANCELED")


# Invalid outputs.


def _ended_with(
    attempt: Attempt, result: str, *, error: str = "", findings: list[str] | None = None
) -> None:
    run = attempt.stack.finished(attempt.run)
    assert run["result"] == result, run
    assert error in run["error"], run
    found = [issue["message"] for step in run["steps"] for issue in step["issues"]]
    assert found == (findings or [])
    ends = ("passed", "failed", "error", "timed_out", "canceled")
    assert sum(kind in ends for kind in attempt.stack.events(attempt.run)) == 1


@pytest.mark.parametrize(
    "uri",
    [
        "gs://validibot-local/runs/1/another/output.json",
        "gs://elsewhere/output.json",
        "file:///etc/passwd",
        "gs://validibot-local/\0",
        "x" * 5000,
    ],
)
def test_callback_with_other_uri_ends_run_with_error(attempt: Attempt, uri: str) -> None:
    attempt.store(attempt.output())

    _refused(attempt.call_back(result_uri=uri), 400)

    _ended_with(attempt, "ERROR", error="is not the output of its attempt")
    assert attempt.call_back().json()["idempotent_replayed"] is True


def test_output_of_other_run_ends_only_own_run(attempt: Attempt, opened: Attempt) -> None:
    _refused(attempt.call_back(result_uri=opened.output_uri), 400)

    _ended_with(attempt, "ERROR", error="is not the output of its attempt")
    _untouched(opened)


def test_callback_without_output_ends_run_with_error(attempt: Attempt) -> None:
    _refused(attempt.call_back(), 400)

    _ended_with(attempt, "ERROR", error="stored no output")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "is malformed"),
        (b"no JSON", "is malformed"),
        (b"{}", "is malformed"),
        (b"\xff" * 100, "is malformed"),
        (b"[" * 100_000, "is malformed"),
        (b" " * (25 * 1024 * 1024 + 1), "is larger than"),
    ],
)
def test_unusable_output_ends_run_with_error(attempt: Attempt, content: bytes, error: str) -> None:
    attempt.store(content)

    _refused(attempt.call_back(), 400)

    _ended_with(attempt, "ERROR", error=error)


@pytest.mark.parametrize(
    "changes",
    [
        {"execution_attempt_id": "00000000-0000-4000-8000-000000000000"},
        {"run_id": "00000000-0000-4000-8000-000000000000"},
        {"input_envelope_sha256": "0" * 64},
        {"output_uri": "gs://validibot-local/elsewhere.json"},
    ],
)
def test_output_for_other_input_ends_run_with_error(
    attempt: Attempt, changes: dict[str, str]
) -> None:
    attempt.store(attempt.output(**changes))

    _refused(attempt.call_back(), 400)

    _ended_with(attempt, "ERROR", error="does not belong to this attempt")


def test_unusual_output_is_kept_as_far_as_possible(attempt: Attempt) -> None:
    place = {"line": 10**18, "column": -1, "path": "\0" * 300}
    odd = {"severity": "ERROR", "text": "NUL \0", "code": "\0" * 500, "location": place}
    attempt.store(attempt.output(messages=[odd] * 2000))

    assert attempt.call_back().status_code == 200

    run = attempt.stack.finished(attempt.run)
    assert run["result"] == "FAIL"
    (step,) = run["steps"]
    assert len(step["issues"]) == 1001
    assert step["issues"][0]["message"] == "NUL �"
