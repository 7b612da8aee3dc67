"""IAM Credentials: acting in the name of another account, for those who may."""

from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.identity.credentials import CredentialsApi
from devenv.gcp.identity.identity import Identity
from tests.unit.devenv.gcp.fakes import FakeGuard
from tests.unit.devenv.gcp.web import Web

TASKS = "tasks@p.iam.gserviceaccount.com"
BASE = f"/v1/projects/-/serviceAccounts/{TASKS}"


@pytest.fixture
def identity(keys: Path) -> Identity:
    config = CloudConfig(project="p", accounts=("web", "tasks"))
    return Identity(config=config, folder=keys, clock=ManualClock())


@pytest.fixture
def guard() -> FakeGuard:
    return FakeGuard()


@pytest.fixture
def client(identity: Identity, guard: FakeGuard) -> Web:
    api = CredentialsApi(project="p", identity=identity, guard=guard, clock=ManualClock())
    token = identity.access_token("web@p.iam.gserviceaccount.com")
    return Web(api.mount().app, headers={"authorization": f"Bearer {token}"})


def test_the_question_for_locations_is_answered_with_404(client: Web) -> None:
    assert client.get(f"{BASE}/allowedLocations").status_code == 404


def test_an_id_token_in_the_name_of_another(client: Web, identity: Identity) -> None:
    answer = client.post(f"{BASE}:generateIdToken", json={"audience": "a", "includeEmail": True})

    claims = identity.claims(answer.json()["token"])
    assert claims
    assert (claims["aud"], claims["email"]) == ("a", TASKS)


def test_an_access_token_in_the_name_of_another(client: Web, identity: Identity) -> None:
    answer = client.post(f"{BASE}:generateAccessToken", json={"lifetime": "300s"}).json()

    assert identity.caller({"authorization": f"Bearer {answer['accessToken']}"}).email == TASKS
    assert answer["expireTime"] == "2027-01-15T08:05:00Z"


def test_a_blob_is_signed_with_the_key_of_the_account(client: Web, identity: Identity) -> None:
    payload = {"payload": b64encode(b"hello").decode()}
    answer = client.post(f"{BASE}:signBlob", json=payload).json()

    assert identity.verify_signature(TASKS, b"hello", b64decode(answer["signedBlob"]))


@pytest.mark.parametrize(
    ("method", "permission"),
    [
        ("generateIdToken", "iam.serviceAccounts.getOpenIdToken"),
        ("generateAccessToken", "iam.serviceAccounts.getAccessToken"),
        ("signBlob", "iam.serviceAccounts.signBlob"),
    ],
)
def test_each_method_needs_its_permission_on_the_account(
    client: Web, guard: FakeGuard, method: str, permission: str
) -> None:
    guard.denied.add(permission)

    assert client.post(f"{BASE}:{method}", json={}).status_code == 403
    assert guard.asked == [(permission, f"projects/p/serviceAccounts/{TASKS}")]


@pytest.mark.parametrize(
    ("call", "status"),
    [
        (f"{BASE}:explode", 404),
        ("/v1/projects/-/serviceAccounts/nobody@p:signBlob", 404),
        (f"{BASE}:signBlob", 400),
        (f"{BASE}:generateIdToken", 400),
    ],
)
def test_bad_calls_are_refused(client: Web, call: str, status: int) -> None:
    assert client.post(call, json={}).status_code == status


@pytest.mark.parametrize("content", [b"[", b"[]", b"\xff", b"[" * 10_000, b"x" * (2 << 20)])
def test_bodies_that_are_no_object_are_refused(client: Web, content: bytes) -> None:
    assert client.post(f"{BASE}:signBlob", content=content).status_code == 400


def test_a_call_without_a_token_is_refused(client: Web) -> None:
    client.headers.pop("authorization")

    assert client.post(f"{BASE}:signBlob", json={}).status_code == 401
