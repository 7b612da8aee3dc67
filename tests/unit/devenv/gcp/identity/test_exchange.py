"""The token endpoints: downscoping, and JWTs signed with a service account's key."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from devenv.gcp.caller import ApiCaller
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import Unauthenticated
from devenv.gcp.identity import exchange
from devenv.gcp.identity.federation import Federation
from devenv.gcp.identity.identity import Identity, sign_jwt
from devenv.gcp.identity.keys import SigningKey
from tests.unit.devenv.gcp.fakes import MemoryStore
from tests.unit.devenv.gcp.web import Web

WEB = "web@p.iam.gserviceaccount.com"
BUCKET = "//storage.googleapis.com/projects/_/buckets/b"
VIEWER = "inRole:roles/storage.objectViewer"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
RULE = {"availableResource": BUCKET, "availablePermissions": [VIEWER]}


@pytest.fixture
def identity(keys: Path) -> Identity:
    config = CloudConfig(project="p", accounts=("web",))
    return Identity(config=config, folder=keys, clock=ManualClock(), store=MemoryStore())


def _federation(identity: Identity) -> Federation:
    return Federation(identity.pools, ManualClock(), lambda _: False)


@pytest.fixture
def client(identity: Identity) -> Web:
    return Web(exchange.mounts(identity, _federation(identity))[0].app)


def form(token: str, rules: object = (RULE,)) -> dict[str, str]:
    return {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": token,
        "options": quote(json.dumps({"accessBoundary": {"accessBoundaryRules": rules}})),
    }


@pytest.mark.parametrize("is_json", [False, True])
def test_downscoped_token_has_account_and_boundary(
    client: Web, identity: Identity, *, is_json: bool
) -> None:
    condition = {"expression": "resource.name.startsWith('x')"}
    rules = [RULE | {"availabilityCondition": condition}]
    fields = form(identity.access_token(WEB), rules)
    sent: dict[str, Any] = {"data": fields}
    if is_json:  # as a generated client of the API sends it
        names = {"grant_type": "grantType", "subject_token": "subjectToken"}
        sent = {"json": {names.get(name, name): value for name, value in fields.items()}}
    answer = client.post("/v1/token", **sent).json()

    caller = identity.caller({"authorization": f"Bearer {answer['access_token']}"})
    assert caller.email == WEB
    assert caller.boundary
    assert caller.boundary.rules == ((BUCKET, (VIEWER,), "resource.name.startsWith('x')"),)
    assert answer["expires_in"] == 3600


def test_downscoped_token_cannot_be_downscoped_again(client: Web, identity: Identity) -> None:
    once = client.post("/v1/token", data=form(identity.access_token(WEB))).json()

    twice = client.post("/v1/token", data=form(once["access_token"]))
    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("rules", [None, [], [RULE] * 11, "x", [1], [{}], {"a": 1}])
def test_invalid_boundary_is_refused(client: Web, identity: Identity, rules: object) -> None:
    answer = client.post("/v1/token", data=form(identity.access_token(WEB), rules))

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_foreign_subject_token_is_refused(client: Web) -> None:
    answer = client.post("/v1/token", data=form("ya29.c.stolen"))

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a=1&" * 100, b"[" * 5000])
def test_invalid_form_is_refused(client: Web, content: bytes) -> None:
    assert client.post("/v1/token", content=content).status_code == 400


def test_too_long_form_is_refused(client: Web) -> None:
    assert client.post("/v1/token", content=b"a=" + b"x" * 100_000).status_code == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [("actor_token", "x"), ("scope", "x"), ("requested_token_type", "urn:x")],
)
def test_exchange_field_that_is_not_emulated_is_named(
    client: Web, identity: Identity, field: str, value: str
) -> None:
    answer = client.post("/v1/token", data=form(identity.access_token(WEB)) | {field: value})

    assert answer.status_code == 400
    assert answer.json()["error_description"].startswith(field)


@pytest.fixture
def oauth(identity: Identity) -> Web:
    return Web(exchange.mounts(identity, _federation(identity))[1].app)


@pytest.fixture
def key(identity: Identity) -> SigningKey:
    return identity.user_keys.create(WEB)


def redeem(oauth: Web, key: SigningKey, **changes: object) -> httpx.Response:
    now = int(ManualClock().now())
    claims = {"iss": WEB, "aud": exchange.TOKEN_URI, "iat": now, "exp": now + 3600, "scope": SCOPE}
    assertion = sign_jwt(key, {name: each for name, each in (claims | changes).items() if each})
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    return oauth.post("/token", data={"grant_type": grant, "assertion": assertion})


def test_signed_jwt_is_exchanged_for_access_token(
    oauth: Web, key: SigningKey, identity: Identity
) -> None:
    answer = redeem(oauth, key).json()

    caller = identity.caller({"authorization": f"Bearer {answer['access_token']}"})
    assert (caller.email, caller.scopes) == (WEB, (SCOPE,))
    assert (answer["expires_in"], answer["token_type"]) == (3599, "Bearer")


def test_signed_jwt_with_target_audience_is_exchanged_for_id_token(
    oauth: Web, key: SigningKey, identity: Identity
) -> None:
    claims = identity.claims(redeem(oauth, key, target_audience="https://a").json()["id_token"])

    assert claims
    assert (claims["aud"], claims["email"]) == ("https://a", WEB)


def test_jwt_for_older_token_address_is_accepted(oauth: Web, key: SigningKey) -> None:
    assert redeem(oauth, key, aud="https://www.googleapis.com/oauth2/v4/token").status_code == 200


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"aud": "https://elsewhere.example/token"}, "invalid_grant"),
        ({"exp": ManualClock().now() - 600}, "invalid_grant"),
        ({"exp": ManualClock().now() + 7200}, "invalid_grant"),
        ({"iss": "worker@p.iam.gserviceaccount.com"}, "invalid_grant"),
        ({"iss": "../../web"}, "invalid_grant"),
        ({"iat": "soon"}, "invalid_grant"),
        ({"iat": 10**400}, "invalid_grant"),
        ({"sub": "somebody@example.org"}, "unauthorized_client"),
        ({"scope": None}, "invalid_scope"),
    ],
)
def test_invalid_jwt_is_refused(
    oauth: Web, key: SigningKey, changes: dict[str, object], error: str
) -> None:
    answer = redeem(oauth, key, **changes)

    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_jwt_of_deleted_or_foreign_key_is_refused(
    oauth: Web, key: SigningKey, identity: Identity
) -> None:
    foreign = SigningKey(SigningKey.new().private, key.kid)
    assert redeem(oauth, foreign).status_code == 400

    identity.user_keys.delete(WEB, key.kid)
    assert redeem(oauth, key).status_code == 400


def test_self_signed_jwt_authenticates_its_account(identity: Identity, key: SigningKey) -> None:
    now = int(ManualClock().now())
    claims = {"iss": WEB, "sub": WEB, "iat": now, "exp": now + 3600}

    def caller(**more: str) -> ApiCaller:
        token = sign_jwt(key, claims | more)
        return identity.caller({"authorization": f"Bearer {token}"})

    assert caller(aud="https://cloudtasks.googleapis.com/").email == WEB
    assert caller(scope=SCOPE).scopes == (SCOPE,)
    with pytest.raises(Unauthenticated):
        caller(aud="https://evil.example/")
