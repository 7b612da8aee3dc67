"""IAM Credentials and service account keys: tokens and signatures for other accounts."""

import json
from base64 import b64decode, b64encode, urlsafe_b64decode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.identity.credentials import CredentialsApi
from devenv.gcp.identity.identity import Identity
from devenv.gcp.identity.keys import SigningKey
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from tests.unit.devenv.gcp.fakes import FakeGuard, MemoryJournal, MemoryStore, no_faults
from tests.unit.devenv.gcp.web import Web

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TASKS = "tasks@p.iam.gserviceaccount.com"
BASE = f"/v1/projects/-/serviceAccounts/{TASKS}"


@pytest.fixture
def identity(keys: Path) -> Identity:
    config = CloudConfig(project="p", accounts=("web", "tasks"))
    return Identity(config=config, folder=keys, clock=ManualClock(), store=MemoryStore())


@pytest.fixture
def guard() -> FakeGuard:
    return FakeGuard()


@pytest.fixture
def client(identity: Identity, guard: FakeGuard) -> Web:
    api = CredentialsApi(project="p", identity=identity, guard=guard, clock=ManualClock())
    token = identity.access_token("web@p.iam.gserviceaccount.com")
    app = RestApp(api.rpcs(), Calls(identity, MemoryJournal(), no_faults()))
    return Web(app, headers={"authorization": f"Bearer {token}"})


def test_allowed_locations_returns_404(client: Web) -> None:
    assert client.get(f"{BASE}/allowedLocations").status_code == 404


def test_generate_id_token_returns_token_of_account(client: Web, identity: Identity) -> None:
    answer = client.post(f"{BASE}:generateIdToken", json={"audience": "a", "includeEmail": True})

    claims = identity.claims(answer.json()["token"])
    assert claims
    assert (claims["aud"], claims["email"]) == ("a", TASKS)


def test_generate_access_token_returns_scoped_token(client: Web, identity: Identity) -> None:
    answer = client.post(
        f"{BASE}:generateAccessToken", json={"lifetime": "300s", "scope": [SCOPE]}
    ).json()

    caller = identity.caller({"authorization": f"Bearer {answer['accessToken']}"})
    assert (caller.email, caller.scopes) == (TASKS, (SCOPE,))
    assert answer["expireTime"] == "2027-01-15T08:05:00Z"


def test_sign_blob_uses_key_of_account(client: Web, identity: Identity) -> None:
    payload = {"payload": b64encode(b"hello").decode()}
    answer = client.post(f"{BASE}:signBlob", json=payload).json()

    assert identity.verify_signature(TASKS, b"hello", b64decode(answer["signedBlob"]))


def test_key_that_signs_blobs_is_listed_and_stays(client: Web) -> None:
    payload = {"payload": b64encode(b"hello").decode()}
    key = client.post(f"{BASE}:signBlob", json=payload).json()["keyId"]
    [listed] = client.get(f"{BASE}/keys").json()["keys"]
    path = f"{BASE}/keys/{key}"
    found = client.get(f"{path}?publicKeyType=TYPE_X509_PEM_FILE").json()

    assert listed["name"] == found["name"]
    assert listed["name"].endswith(f"/keys/{key}")
    assert listed["keyType"] == "SYSTEM_MANAGED"
    assert b64decode(found["publicKeyData"]).startswith(b"-----BEGIN CERTIFICATE")
    assert client.request("DELETE", path).status_code == 400
    assert client.get(f"{BASE}/keys?keyTypes=USER_MANAGED").json() == {}


@pytest.mark.parametrize(
    ("method", "permission"),
    [
        ("generateIdToken", "iam.serviceAccounts.getOpenIdToken"),
        ("generateAccessToken", "iam.serviceAccounts.getAccessToken"),
        ("signBlob", "iam.serviceAccounts.signBlob"),
        ("signJwt", "iam.serviceAccounts.signJwt"),
    ],
)
def test_method_needs_its_permission_on_account(
    client: Web, guard: FakeGuard, method: str, permission: str
) -> None:
    guard.denied.add(permission)

    assert client.post(f"{BASE}:{method}", json={}).status_code == 403
    assert guard.asked == [(permission, f"projects/p/serviceAccounts/{TASKS}")]


@pytest.mark.parametrize(
    ("method", "sent", "status"),
    [
        ("explode", {}, 404),
        ("signBlob", {}, 400),
        ("signBlob", {"payload": "aGk=", "delegates": ["x"]}, 501),
        ("signBlob", {"payload": "aGk=", "unknown": 1}, 400),
        ("generateIdToken", {}, 400),
        ("generateAccessToken", {}, 400),
        ("generateAccessToken", {"scope": ["x"], "lifetime": "7200s"}, 400),
        ("signJwt", {"payload": "[]"}, 400),
        ("signJwt", {"payload": '{"exp": 1}'}, 400),
        ("signJwt", {"payload": '{"exp": "x"}'}, 400),
        ("signJwt", {"payload": f'{{"exp": {10**400}}}'}, 400),
        ("generateAccessToken", {"scope": ["x" * 20_000]}, 400),
    ],
)
def test_invalid_call_is_refused(
    client: Web, method: str, sent: dict[str, object], status: int
) -> None:
    assert client.post(f"{BASE}:{method}", json=sent).status_code == status


def test_unknown_account_returns_404(client: Web) -> None:
    call = "/v1/projects/-/serviceAccounts/nobody@p:signBlob"
    assert client.post(call, json={"payload": "aGk="}).status_code == 404


def test_jwt_is_signed_with_key_of_account(client: Web, identity: Identity) -> None:
    answer = client.post(f"{BASE}:signJwt", json={"payload": '{"aud": "a"}'}).json()

    signed, _, signature = answer["signedJwt"].rpartition(".")
    raw = urlsafe_b64decode(signature + "==")
    assert identity.verify_signature(TASKS, signed.encode(), raw)
    claims = json.loads(urlsafe_b64decode(signed.partition(".")[2] + "=="))
    assert claims == {"aud": "a", "exp": int(ManualClock().now()) + 3600}


def test_created_key_signs_for_its_account_until_deleted(client: Web, identity: Identity) -> None:
    created = client.post(f"{BASE}/keys", json={}).json()
    file = json.loads(b64decode(created["privateKeyData"]))
    assert (file["client_email"], file["token_uri"]) == (
        TASKS,
        "https://oauth2.googleapis.com/token",
    )
    private = load_pem_private_key(file["private_key"].encode(), None)
    assert isinstance(private, RSAPrivateKey)
    signature = SigningKey.of(private).sign(b"hello")

    [listed] = client.get(f"{BASE}/keys?keyTypes=USER_MANAGED").json()["keys"]
    assert listed["validAfterTime"] == created["validAfterTime"] > "2020-01-01T00:00:00Z"
    assert listed["name"] == created["name"]
    assert "privateKeyData" not in listed
    assert identity.verify_signature(TASKS, b"hello", signature)

    path = f"{BASE}/keys/{file['private_key_id']}"
    assert (
        "BEGIN CERTIFICATE"
        in b64decode(
            client.get(f"{path}?publicKeyType=TYPE_X509_PEM_FILE").json()["publicKeyData"]
        ).decode()
    )
    assert client.request("DELETE", path).status_code == 200
    assert client.get(path).status_code == 404
    assert not identity.verify_signature(TASKS, b"hello", signature)


@pytest.mark.parametrize(
    ("verb", "path", "permission"),
    [("POST", "/keys", "create"), ("GET", "/keys", "list"), ("GET", f"/keys/{'a' * 40}", "get")],
)
def test_key_method_needs_its_permission(
    client: Web, guard: FakeGuard, verb: str, path: str, permission: str
) -> None:
    guard.denied.add(f"iam.serviceAccountKeys.{permission}")

    options: dict[str, object] = {"json": {}} if verb == "POST" else {}
    assert client.request(verb, f"{BASE}{path}", **options).status_code == 403


@pytest.mark.parametrize("content", [b"[", b"[]", b"\xff", b"[" * 10_000, b"x" * (2 << 20)])
def test_body_that_is_no_object_is_refused(client: Web, content: bytes) -> None:
    assert client.post(f"{BASE}:signBlob", content=content).status_code == 400


def test_call_without_token_returns_401(client: Web) -> None:
    client.headers.pop("authorization")

    assert client.post(f"{BASE}:signBlob", json={}).status_code == 401
