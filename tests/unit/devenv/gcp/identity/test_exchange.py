"""The token exchange: which boundaries can be asked for, and what comes back."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.identity import exchange
from devenv.gcp.identity.identity import Identity
from tests.unit.devenv.gcp.web import Web

WEB = "web@p.iam.gserviceaccount.com"
BUCKET = "//storage.googleapis.com/projects/_/buckets/b"
VIEWER = "inRole:roles/storage.objectViewer"
RULE = {"availableResource": BUCKET, "availablePermissions": [VIEWER]}


@pytest.fixture
def identity(keys: Path) -> Identity:
    config = CloudConfig(project="p", accounts=("web",))
    return Identity(config=config, folder=keys, clock=ManualClock())


@pytest.fixture
def client(identity: Identity) -> Web:
    return Web(exchange.mount(identity).app)


def form(token: str, rules: object = (RULE,)) -> dict[str, str]:
    return {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": token,
        "options": quote(json.dumps({"accessBoundary": {"accessBoundaryRules": rules}})),
    }


def test_a_downscoped_token_keeps_the_account_and_gains_the_boundary(
    client: Web, identity: Identity
) -> None:
    condition = {"expression": "resource.name.startsWith('x')"}
    rules = [RULE | {"availabilityCondition": condition}]
    answer = client.post("/v1/token", data=form(identity.access_token(WEB), rules)).json()

    caller = identity.caller({"authorization": f"Bearer {answer['access_token']}"})
    assert caller.email == WEB
    assert caller.boundary
    assert caller.boundary.rules == ((BUCKET, (VIEWER,), "resource.name.startsWith('x')"),)
    assert answer["expires_in"] == 3600


def test_a_downscoped_token_cannot_be_downscoped_again(client: Web, identity: Identity) -> None:
    once = client.post("/v1/token", data=form(identity.access_token(WEB))).json()

    twice = client.post("/v1/token", data=form(once["access_token"]))
    assert (twice.status_code, twice.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("rules", [None, [], [RULE] * 11, "x", [1], [{}], {"a": 1}])
def test_a_boundary_that_cannot_be_read_is_refused(
    client: Web, identity: Identity, rules: object
) -> None:
    answer = client.post("/v1/token", data=form(identity.access_token(WEB), rules))

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_a_stranger_token_is_refused(client: Web) -> None:
    answer = client.post("/v1/token", data=form("ya29.c.stolen"))

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"a=1&" * 100, b"[" * 5000])
def test_a_form_that_is_none_is_refused(client: Web, content: bytes) -> None:
    assert client.post("/v1/token", content=content).status_code == 400


def test_a_form_that_is_too_long_is_refused(client: Web) -> None:
    assert client.post("/v1/token", content=b"a=" + b"x" * 100_000).status_code == 400
