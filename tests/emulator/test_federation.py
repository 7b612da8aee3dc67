"""Workload identity federation as Google's libraries use it, with the local sign-in provider."""

# mypy: disable-error-code="no-untyped-call"

import base64
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import google.auth
import pytest
import uvicorn
from google.auth import identity_pool
from google.auth.exceptions import OAuthError, RefreshError
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import iam_admin_v1
from google.cloud.storage import Client
from google.iam.v1 import iam_policy_pb2, policy_pb2

from devenv.gcp.config import CloudConfig
from devenv.oidc.provider import AuthorizationRequest, OidcClient, OidcProvider, Person
from devenv.oidc.web import app
from tests.emulator.conftest import ActAs
from tests.emulator.storage_server import listen
from tests.waiting import LIMIT

VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")
CALLBACK = "http://localhost/callback"
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[OidcProvider]:
    """Return the local sign-in provider on a port of its own."""
    with listen() as listening:
        issuer = f"http://127.0.0.1:{listening.getsockname()[1]}"
        client = OidcClient(id="shop", secret="s", redirect_uris=(CALLBACK,))
        provider = OidcProvider(issuer=issuer, client=client, folder=tmp_path / "oidc")
        web = app(provider, (Person(email="ada@example.org"),))
        server = uvicorn.Server(uvicorn.Config(web, lifespan="off", log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield provider
        server.should_exit = True
        thread.join()


def id_token(provider: OidcProvider, email: str) -> str:
    asked = AuthorizationRequest(
        client_id="shop", redirect_uri=CALLBACK, code_challenge=CHALLENGE.decode()
    )
    form = {
        "grant_type": "authorization_code",
        "code": provider.issue_code(asked, Person(email=email)),
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    return str(provider.redeem(form)["id_token"])


def test_external_account_impersonates_a_service_account(
    act_as: ActAs, config: CloudConfig, provider: OidcProvider, tmp_path: Path
) -> None:
    act_as("admin")
    web, pool = config.email("web"), f"projects/{config.number}/locations/global"
    with AuthorizedSession(google.auth.default(scopes=SCOPES)[0]) as session:
        pools = f"https://iam.googleapis.com/v1/{pool}/workloadIdentityPools"
        created = session.post(f"{pools}?workloadIdentityPoolId=people", json={}, timeout=LIMIT)
        settings = {
            "oidc": {"issuerUri": provider.issuer, "allowedAudiences": ["shop"]},
            "attributeMapping": {"google.subject": "assertion.email"},
            "attributeCondition": "assertion.email.endsWith('@example.org')",
        }
        providers = f"{pools}/people/providers?workloadIdentityPoolProviderId=sign-in"
        made = session.post(providers, json=settings, timeout=LIMIT)
    member = f"principal://iam.googleapis.com/{pool}/workloadIdentityPools/people/subject/"
    policy = policy_pb2.Policy()
    policy.bindings.add(role="roles/iam.workloadIdentityUser", members=[f"{member}ada@example.org"])
    with iam_admin_v1.IAMClient() as client:
        resource = f"projects/{config.project}/serviceAccounts/{web}"
        client.set_iam_policy(iam_policy_pb2.SetIamPolicyRequest(resource=resource, policy=policy))
    assert (created.status_code, made.status_code) == (200, 200)

    def credentials(email: str) -> identity_pool.Credentials:
        file = tmp_path / f"{email}.txt"
        file.write_text(id_token(provider, email))
        endpoint = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
        settings = {
            "type": "external_account",
            "audience": f"//iam.googleapis.com/{pool}/workloadIdentityPools/people/providers/sign-in",
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            "token_url": "https://sts.googleapis.com/v1/token",
            "credential_source": {"file": str(file)},
            "service_account_impersonation_url": f"{endpoint}/{web}:generateAccessToken",
        }
        found: identity_pool.Credentials = identity_pool.Credentials.from_info(
            settings, scopes=SCOPES
        )
        return found

    with Client(project=config.project, credentials=credentials("ada@example.org")) as storage:
        storage.bucket(config.buckets[0]).blob("of-ada.txt").upload_from_string("hello")
    with pytest.raises(RefreshError, match="getAccessToken"):
        credentials("bob@example.org").refresh(Request())
    with pytest.raises(OAuthError, match="attribute condition"):
        credentials("eve@elsewhere.org").refresh(Request())
