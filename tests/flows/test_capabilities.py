"""Capabilities: a validator reads and creates files of its own attempt, and can do nothing else."""

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.flows.attempt import FlowAttempt
from tests.flows.foreign import ACCOUNT
from tests.flows.identity import BUCKET, WORKER, FlowIdentity
from tests.flows.stack import Stack

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.both_clouds]

URL = f"{WORKER}/internal/capabilities/"
PLACE = "projects/validibot-local/locations/us-west1"
CREDENTIALS = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
OBJECTS = f"https://storage.googleapis.com/storage/v1/b/{BUCKET}/o"


@pytest.fixture(scope="module")
def attempt(foreign: Stack) -> FlowAttempt:
    return FlowAttempt.launch(foreign)


@pytest.fixture(scope="module")
def other(foreign: Stack) -> FlowAttempt:
    return FlowAttempt.launch(foreign)


def _proof(attempt: FlowAttempt, **changes: str) -> dict[str, Any]:
    said = attempt.callback()
    return {name: said[name] for name in ("run_id", "callback_id", "callback_nonce")} | changes


def _ask(attempt: FlowAttempt, **changes: str) -> httpx.Response:
    return attempt.post(url=URL, json=_proof(attempt, **changes))


def _get(attempt: FlowAttempt, uri: str, token: str) -> int:
    name = uri.removeprefix(f"gs://{BUCKET}/")
    url, headers = f"{OBJECTS}/{quote(name, safe='')}", {"Authorization": f"Bearer {token}"}
    return attempt.identity.request("GET", url, headers=headers).status_code


@pytest.fixture
def tokens_count(foreign: Stack) -> None:
    if foreign.servers:
        pytest.skip("fake-gcs-server does not check tokens")


@pytest.mark.usefixtures("tokens_count")
def test_validator_account_has_no_access_to_files(foreign: Stack, attempt: FlowAttempt) -> None:
    account = FlowIdentity(foreign, ACCOUNT)

    with pytest.raises(httpx.HTTPStatusError, match="403"):
        account.read(attempt.output_uri.replace("output.json", "input.json"))
    with pytest.raises(httpx.HTTPStatusError, match="403"):
        account.write(attempt.output_uri, b"{}")


@pytest.mark.usefixtures("tokens_count")
def test_capability_is_limited_to_its_attempt_folder(
    attempt: FlowAttempt, other: FlowAttempt
) -> None:
    answer = _ask(attempt)
    token = answer.json()["access_token"]

    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["allowed_prefix"] == attempt.output_uri.removesuffix("output.json")
    assert _get(attempt, str(attempt.envelope.input_files[0].uri), token) == 200
    assert _get(attempt, str(other.envelope.input_files[0].uri), token) == 403
    assert _get(attempt, f"gs://{BUCKET}/seeds/anything", token) == 403


@pytest.mark.usefixtures("tokens_count")
@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("POST", f"https://run.googleapis.com/v2/{PLACE}/jobs/validibot-validator-fmu:run"),
        ("GET", f"https://run.googleapis.com/v2/{PLACE}/jobs"),
        ("POST", f"https://cloudtasks.googleapis.com/v2/{PLACE}/queues/runs/tasks"),
        (
            "POST",
            f"{CREDENTIALS}/worker@validibot-local.iam.gserviceaccount.com:generateAccessToken",
        ),
        ("GET", f"https://storage.googleapis.com/storage/v1/b/{BUCKET}/o"),
    ],
)
def test_capability_is_refused_outside_its_folder(
    attempt: FlowAttempt, method: str, url: str
) -> None:
    headers = {"Authorization": f"Bearer {_ask(attempt).json()['access_token']}"}

    answer = attempt.identity.request(method, url, headers=headers, json={})

    assert answer.status_code == 403, answer.text


def test_all_inputs_are_in_attempt_folder(attempt: FlowAttempt) -> None:
    prefix = attempt.output_uri.removesuffix("output.json")
    inputs = [str(file.uri) for file in attempt.envelope.input_files]
    resources = [str(file.uri) for file in attempt.envelope.resource_files]

    assert resources
    assert [uri for uri in inputs + resources if not uri.startswith(prefix)] == []


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"callback_nonce": "n" * 43}, 403),
        ({"callback_id": "execution-attempt-1"}, 400),
        ({"run_id": "another"}, 400),
        ({"callback_nonce": "n" * 1000}, 400),
    ],
)
def test_renewal_without_valid_proof_is_refused(
    attempt: FlowAttempt, changes: dict[str, str], status: int
) -> None:
    answer = _ask(attempt, **changes)

    assert (answer.status_code, "access_token" in answer.json()) == (status, False)


def test_renewal_after_attempt_ended_returns_409(foreign: Stack) -> None:
    ended = FlowAttempt.launch(foreign)
    ended.store(ended.output())
    assert ended.call_back().status_code == 200

    assert _ask(ended).status_code == 409
