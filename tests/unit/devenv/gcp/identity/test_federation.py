"""Workload identity pools by API, and tokens of other issuers that become principals."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from devenv.gcp.caller import ApiCaller
from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig, IamBinding
from devenv.gcp.errors import Unauthenticated
from devenv.gcp.iam.guard import Iam
from devenv.gcp.iam.policies import Policies
from devenv.gcp.identity import exchange
from devenv.gcp.identity.federation import Federation
from devenv.gcp.identity.identity import Identity
from devenv.gcp.identity.pools_api import PoolsApi
from tests.unit.devenv.gcp.fakes import FakeGuard, MemoryStore
from tests.unit.devenv.gcp.web import Web

ISSUER = "https://ci.example.com"
NAME = "projects/123/locations/global/workloadIdentityPools"
POOLS = "/v1/projects/p/locations/global/workloadIdentityPools"
PROVIDERS = f"{POOLS}/ci-pool/providers"
AUDIENCE = f"//iam.googleapis.com/{NAME}/ci-pool/providers/ci-jobs"
MAPPING = {
    "google.subject": "assertion.sub",
    "google.groups": "assertion.teams",
    "attribute.repository": "assertion.repository",
}
CONDITION = "attribute.repository.startsWith('shop/') && 'devs' in google.groups"
PRINCIPAL = f"principal://iam.googleapis.com/{NAME}/ci-pool/subject/job-7"
SET = f"principalSet://iam.googleapis.com/{NAME}/ci-pool"
CLOCK = ManualClock()
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_set(kid: str = "k1") -> str:
    public = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    return json.dumps({"keys": [{**public, "kid": kid, "use": "sig", "alg": "RS256"}]})


class FederatedCloud:
    """The API of pools, the token endpoint, and the identity behind them."""

    def __init__(self, keys: Path) -> None:
        self.config = CloudConfig(project="p", number="123", accounts=("web",))
        self.clock, self.guard = ManualClock(), FakeGuard()
        self.identity = Identity(
            config=self.config, folder=keys, clock=self.clock, store=MemoryStore()
        )
        api = PoolsApi(self.config, self.identity, self.guard, self.clock)
        token = self.identity.access_token("web@p.iam.gserviceaccount.com", lifetime=10**9)
        headers = {"authorization": f"Bearer {token}"}
        self.iam = Web(api.mounts()[0].app, headers=headers)
        federation = Federation(self.identity.pools, self.clock, lambda _: False)
        self.sts = Web(exchange.mounts(self.identity, federation)[0].app)

    def prepare(self, **settings: Any) -> None:
        """Create a pool with a provider."""
        pool = self.iam.post(POOLS, params={"workloadIdentityPoolId": "ci-pool"}, json={})
        assert pool.json()["done"], pool.text
        made = self.create_provider(**settings)
        assert made.json()["response"]["state"] == "ACTIVE", made.text

    def create_provider(self, **settings: Any) -> httpx.Response:
        oidc = {"issuerUri": ISSUER, "jwksJson": key_set()}
        body = {"attributeMapping": MAPPING, "oidc": oidc} | settings
        params = {"workloadIdentityPoolProviderId": "ci-jobs"}
        return self.iam.post(PROVIDERS, params=params, json=body)

    def exchange(self, token: str, **changes: str) -> httpx.Response:
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": AUDIENCE,
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token": token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "scope": "https://www.googleapis.com/auth/cloud-platform",
        }
        return self.sts.post("/v1/token", data=form | changes)

    def caller(self, token: str) -> ApiCaller:
        return self.identity.caller({"authorization": f"Bearer {token}"})


@pytest.fixture
def cloud(keys: Path) -> FederatedCloud:
    return FederatedCloud(keys)


def job_token(headers: Mapping[str, str] | None = None, **changes: Any) -> str:
    """Return a token as a CI system issues it."""
    now = int(CLOCK.now())
    claims = {
        "iss": ISSUER,
        "sub": "job-7",
        "aud": f"https:{AUDIENCE}",
        "iat": now,
        "exp": now + 600,
        "repository": "shop/web",
        "teams": ["devs", "all"],
    }
    return jwt.encode(claims | changes, KEY, "RS256", {"kid": "k1", **(headers or {})})


def test_token_becomes_a_principal_with_its_sets(cloud: FederatedCloud) -> None:
    cloud.prepare(attributeCondition=CONDITION)
    answer = cloud.exchange(job_token()).json()

    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 600)
    caller = cloud.caller(answer["access_token"])
    assert caller.email == PRINCIPAL
    groups = {f"{SET}/group/devs", f"{SET}/group/all"}
    assert set(caller.sets) == {*groups, f"{SET}/attribute.repository/shop/web", f"{SET}/*"}


@pytest.mark.parametrize(
    ("member", "allowed"),
    [
        (PRINCIPAL, True),
        (f"{SET}/attribute.repository/shop/web", True),
        (f"{SET}/group/devs", True),
        (f"{SET}/*", True),
        (f"{SET}/group/ops", False),
        (f"{PRINCIPAL}x", False),
    ],
)
def test_principal_has_the_roles_of_its_sets(
    cloud: FederatedCloud, member: str, allowed: bool
) -> None:
    cloud.prepare()
    caller = cloud.caller(cloud.exchange(job_token()).json()["access_token"])
    binding = IamBinding(member, "roles/iam.workloadIdentityUser", "account/web")
    config = CloudConfig(project="p", number="123", accounts=("web",), bindings=(binding,))
    policies = Policies(config, MemoryStore(), is_account=lambda _: True)
    account = "projects/p/serviceAccounts/web@p.iam.gserviceaccount.com"

    guard = Iam(config, policies, cloud.clock)
    assert guard.allows(caller, "iam.serviceAccounts.getAccessToken", account) == allowed


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"iss": "https://other.example.com"}, "invalid_grant", "issuer in ID Token"),
        ({"aud": "x"}, "invalid_grant", "audience in ID Token [x]"),
        ({"exp": 1_800_000_000 - 61, "iat": 1_800_000_000 - 600}, "invalid_grant", "stale"),
        ({"iat": 1_800_000_100}, "invalid_grant", "stale"),
        ({"exp": 1_800_000_000 + 25 * 3600}, "invalid_grant", "24 hours"),
        ({"exp": "soon"}, "invalid_grant", "cannot be verified"),
        ({"exp": 10**400}, "invalid_grant", "cannot be verified"),
        ({"iat": float("nan")}, "invalid_grant", "stale"),
        ({"sub": ""}, "invalid_grant", "google.subject"),
        ({"sub": "x" * 128}, "invalid_grant", "google.subject"),
        ({"repository": 1}, "invalid_grant", "attribute.repository"),
        ({"teams": "devs"}, "invalid_grant", "google.groups"),
        ({"repository": "other/web"}, "unauthorized_client", "attribute condition"),
        ({"headers": {"kid": "k2"}}, "invalid_grant", "k2"),
    ],
)
def test_token_that_does_not_fit_is_refused(
    cloud: FederatedCloud, changes: dict[str, Any], code: str, text: str
) -> None:
    cloud.prepare(attributeCondition=CONDITION)
    refused = cloud.exchange(job_token(**changes))

    assert (refused.status_code, refused.json()["error"]) == (400, code)
    assert text in refused.json()["error_description"]


@pytest.mark.parametrize(
    ("token", "changes", "code"),
    [
        ("x", {}, "invalid_grant"),
        ("", {}, "invalid_grant"),
        (jwt.encode({"sub": "a"}, "k" * 32, "HS256"), {}, "invalid_grant"),
        ("x", {"audience": f"{AUDIENCE}x"}, "invalid_target"),
        ("x", {"audience": "ci-pool/providers/ci-jobs"}, "invalid_target"),
        ("x", {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ("x", {"requested_token_type": "x"}, "invalid_request"),
        ("x", {"grant_type": "x"}, "unsupported_grant_type"),
    ],
)
def test_malformed_exchange_is_refused(
    cloud: FederatedCloud, token: str, changes: dict[str, str], code: str
) -> None:
    cloud.prepare()

    assert cloud.exchange(token, **changes).json()["error"] == code


def test_unreachable_issuer_is_named_with_the_setting(cloud: FederatedCloud) -> None:
    cloud.prepare(oidc={"issuerUri": ISSUER})
    problem = cloud.exchange(job_token()).json()["error_description"]

    assert "ci.example.com" in problem
    assert "gcp.allow_hosts" in problem


def test_allowed_audience_replaces_that_of_the_provider(cloud: FederatedCloud) -> None:
    oidc = {"issuerUri": ISSUER, "jwksJson": key_set(), "allowedAudiences": ["my-cloud"]}
    cloud.prepare(oidc=oidc)

    assert cloud.exchange(job_token(aud=["x", "my-cloud"])).status_code == 200
    assert cloud.exchange(job_token()).status_code == 400


@pytest.mark.parametrize("text", ["no JSON", "[" * 45_000])
def test_broken_keys_of_issuer_are_an_invalid_grant(cloud: FederatedCloud, text: str) -> None:
    cloud.prepare(oidc={"issuerUri": ISSUER, "jwksJson": text})
    refused = cloud.exchange(job_token()).json()

    assert refused["error"] == "invalid_grant"
    assert "keys of the issuer cannot be read" in refused["error_description"]


def test_disabled_pool_ends_its_tokens_and_a_disabled_provider_new_ones(
    cloud: FederatedCloud,
) -> None:
    cloud.prepare()
    token = cloud.exchange(job_token()).json()["access_token"]
    provider, pool = f"{PROVIDERS}/ci-jobs", f"{POOLS}/ci-pool"
    disabled = {"updateMask": "disabled"}
    cloud.iam.request("PATCH", provider, params=disabled, json={"disabled": True})

    assert cloud.exchange(job_token()).json()["error"] == "invalid_target"
    assert cloud.caller(token).email == PRINCIPAL
    cloud.iam.request("PATCH", pool, params=disabled, json={"disabled": True})
    with pytest.raises(Unauthenticated):
        cloud.caller(token)
    cloud.iam.request("PATCH", pool, params=disabled, json={"disabled": False})
    assert cloud.caller(token).email == PRINCIPAL


def test_principal_is_no_account_with_keys(cloud: FederatedCloud) -> None:
    cloud.prepare()

    assert cloud.caller(cloud.exchange(job_token()).json()["access_token"]).email == PRINCIPAL
    assert not cloud.identity.is_enabled(PRINCIPAL)
    assert not cloud.identity.verify_signature(PRINCIPAL, b"", b"")


def test_deleted_pool_can_be_restored_for_thirty_days(cloud: FederatedCloud) -> None:
    cloud.prepare()
    pool, taken = f"{POOLS}/ci-pool", {"workloadIdentityPoolId": "ci-pool"}
    assert cloud.iam.request("DELETE", pool).json()["response"]["state"] == "DELETED"
    assert cloud.iam.get(POOLS).json()["workloadIdentityPools"] == []
    [listed] = cloud.iam.get(POOLS, params={"showDeleted": "true"}).json()["workloadIdentityPools"]
    assert listed["expireTime"]
    assert cloud.iam.post(POOLS, params=taken, json={}).status_code == 409
    assert cloud.exchange(job_token()).status_code == 400
    assert cloud.iam.post(f"{pool}:undelete").json()["response"]["state"] == "ACTIVE"
    assert cloud.exchange(job_token()).status_code == 200


def test_update_changes_what_its_mask_names(cloud: FederatedCloud) -> None:
    cloud.prepare(displayName="Jobs", attributeMapping={"google.subject": "assertion.sub"})
    before = cloud.iam.get(f"{PROVIDERS}/ci-jobs").json()
    keys, groups = '{"keys": []}', {"google.groups": "assertion.groups", "google.subject": "'all'"}
    body = {"displayName": "x", "attributeMapping": groups, "attributeCondition": "true"}
    mask = "attributeMapping.google.groups,attribute_condition,oidc.jwks_json"
    params, body = {"updateMask": mask}, {**body, "oidc": {"jwksJson": keys}}
    done = cloud.iam.request("PATCH", f"{PROVIDERS}/ci-jobs", params=params, json=body).json()

    assert cloud.iam.get(f"{PROVIDERS}/ci-jobs").json() == before | {
        "attributeMapping": before["attributeMapping"] | {"google.groups": "assertion.groups"},
        "attributeCondition": "true",
        "oidc": before["oidc"] | {"jwksJson": keys},
    }
    assert cloud.iam.get(f"/v1/{done['name']}").json()["done"]
    for name in ("aws", "attribute_condition"):  # the second would be removed, not replaced
        other = cloud.iam.request("PATCH", f"{PROVIDERS}/ci-jobs", json={name: {}})
        assert (other.status_code, name in other.text) == (501, True)
    assert cloud.guard.asked[-1][0].startswith("iam.workloadIdentityPoolProviders.")


@pytest.mark.parametrize(
    ("settings", "status", "text"),
    [
        ({"aws": {"accountId": "1"}}, 501, "aws"),
        ({"oidc": {"issuerUri": "http://example.com"}}, 400, "issuerUri"),
        ({"oidc": {"issuerUri": "https://e.com", "x": 1}}, 501, "oidc.x"),
        ({"oidc": 1}, 400, "oidc"),
        ({"attributeMapping": {}}, 400, "google.subject"),
        ({"attributeMapping": {"google.subject": "assertion."}}, 400, "attributeMapping"),
        ({"attributeMapping": {"google.subject": "'a'", "other": "'a'"}}, 400, "other"),
        ({"attributeMapping": []}, 400, "attributeMapping"),
        ({"attributeCondition": "x ="}, 400, "attributeCondition"),
        ({"attributeCondition": 1}, 400, "attributeCondition"),
        ({"disabled": "no"}, 400, "disabled"),
        ({"displayName": "x" * 33}, 400, "displayName"),
    ],
)
def test_wrong_setting_of_a_provider_is_refused_by_name(
    cloud: FederatedCloud, settings: dict[str, Any], status: int, text: str
) -> None:
    cloud.iam.post(POOLS, params={"workloadIdentityPoolId": "ci-pool"}, json={})
    refused = cloud.create_provider(**settings)

    assert refused.status_code == status
    assert text in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("POST", f"{POOLS}?workloadIdentityPoolId=gcp-pool", 400),
        ("POST", POOLS, 400),
        ("GET", f"{POOLS}/missing", 404),
        ("GET", f"{POOLS}/a/b/c", 404),
        ("GET", f"{POOLS}?pageSize=x", 400),
        ("POST", f"{POOLS}/missing/providers?workloadIdentityPoolProviderId=abcd", 404),
        ("POST", f"{POOLS}/ci-pool:undelete", 404),
        ("PATCH", f"{POOLS}/live-pool?updateMask=dispalyName", 400),
        ("PATCH", f"{POOLS}/live-pool?updateMask=displayName.text", 400),
        ("PATCH", f"{POOLS}/live-pool?updateMask=oidc.issuer", 400),
    ],
)
def test_wrong_request_for_a_pool_is_refused(
    cloud: FederatedCloud, verb: str, path: str, status: int
) -> None:
    settings = {"displayName": "Live"}
    cloud.iam.post(POOLS, params={"workloadIdentityPoolId": "live-pool"}, json=settings)
    assert cloud.iam.request(verb, path).status_code == status


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("(" * 1000 + "assertion.sub" + ")" * 1000, "recursion limit"),
        ("[" * 1000 + "]" * 1000, "recursion limit"),
        ("assertion" + ".a" * 1000, "recursion depth"),
        ("assertion.sub" + "+'a'" * 500, "recursion depth"),
        ("'a'" * 2000, "at most 2048 characters"),
        ("string(assertion.sub.matches(assertion.sub))", "must be a text in quotes"),
        ("string(matches(assertion.sub, assertion.sub))", "must be a text in quotes"),
    ],
)
def test_expression_that_may_take_long_is_refused(
    cloud: FederatedCloud, expression: str, text: str
) -> None:
    cloud.iam.post(POOLS, params={"workloadIdentityPoolId": "ci-pool"}, json={})
    refused = cloud.create_provider(attributeMapping={"google.subject": expression})

    assert refused.status_code == 400
    assert text in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("condition", "admitted"),
    [
        ("assertion.teams.exists(team, team.matches('^d(e|v)+s$'))", True),
        ("assertion.text.matches('(a+)+b')", False),
        ("assertion.text.matches('(a|a|aa)*b')", False),
        ("assertion.text.matches('(a?){1000}a{1000}b')", False),
        ("assertion.list.exists(x, assertion.text.matches('(a?){1000}b'))", False),
        ("assertion.list.map(x, assertion.text).exists(y, y.matches('(a?){1000}b'))", False),
        (
            "assertion.list.exists(x, assertion.list.exists(y, assertion.list.exists(z, false)))",
            False,
        ),
    ],
)
def test_condition_that_may_take_long_rejects_token(
    cloud: FederatedCloud, condition: str, *, admitted: bool
) -> None:
    cloud.prepare(attributeCondition=condition)
    bomb: dict[str, Any] = {} if admitted else {"text": "a" * 20_000, "list": [1] * 5000}

    answer = cloud.exchange(job_token(**bomb))

    assert answer.status_code == (200 if admitted else 400), answer.text
