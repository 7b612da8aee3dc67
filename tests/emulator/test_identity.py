"""Tokens as Google's own libraries fetch, verify and weaken them."""

# mypy: disable-error-code="no-untyped-call"

from pathlib import Path

import google.auth
import pytest
from google.api_core.exceptions import Forbidden
from google.auth import compute_engine, downscoped
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.cloud.storage import Client
from google.oauth2 import id_token

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.emulator.conftest import ActAs

AUDIENCE = "https://validibot-worker-123456789012.us-west1.run.app"
BUCKET = "validibot-local"


def test_an_id_token_is_fetched_and_verified_by_googles_own_code(act_as: ActAs) -> None:
    act_as("validator-fmu")

    token = id_token.fetch_id_token(Request(), AUDIENCE)
    claims = id_token.verify_oauth2_token(token, Request(), audience=AUDIENCE)

    assert claims["email"] == "validator-fmu@validibot-local.iam.gserviceaccount.com"
    assert claims["email_verified"] is True


def test_a_token_for_somebody_else_is_refused_by_googles_own_code(act_as: ActAs) -> None:
    act_as("web")
    token = id_token.fetch_id_token(Request(), "https://elsewhere.example")

    with pytest.raises((ValueError, GoogleAuthError), match="audience"):
        id_token.verify_oauth2_token(token, Request(), audience=AUDIENCE)


def test_the_default_credentials_are_those_of_the_workload(act_as: ActAs) -> None:
    act_as("worker")

    credentials, project = google.auth.default()
    credentials.refresh(Request())

    assert project == "validibot-local"
    assert isinstance(credentials, compute_engine.Credentials)
    assert credentials.service_account_email == "worker@validibot-local.iam.gserviceaccount.com"


def test_a_downscoped_token_reaches_only_what_its_boundary_names(act_as: ActAs) -> None:
    act_as("web")
    with Client() as client:
        client.bucket(BUCKET).blob("inside/a").upload_from_string("a")
        client.bucket(BUCKET).blob("outside/a").upload_from_string("a")

    with Client(credentials=_only("inside/")) as weak:
        assert weak.bucket(BUCKET).blob("inside/a").download_as_bytes() == b"a"
        with pytest.raises(Forbidden, match=r"storage\.objects\.get"):
            weak.bucket(BUCKET).blob("outside/a").download_as_bytes()


def _only(prefix: str) -> downscoped.Credentials:
    source, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    condition = downscoped.AvailabilityCondition(
        f"resource.name.startsWith('projects/_/buckets/{BUCKET}/objects/{prefix}')"
    )
    rule = downscoped.AccessBoundaryRule(
        available_resource=f"//storage.googleapis.com/projects/_/buckets/{BUCKET}",
        available_permissions=["inRole:roles/storage.objectViewer"],
        availability_condition=condition,
    )
    return downscoped.Credentials(
        source_credentials=source,
        credential_access_boundary=downscoped.CredentialAccessBoundary(rules=[rule]),
    )


def test_tokens_and_ports_survive_a_restart(config: CloudConfig, tmp_path: Path) -> None:
    with Cloud(config, data=tmp_path) as before:
        environ, plain = before.environ("web"), before.plain_url
        key = (tmp_path / "keys" / "id-tokens.pem").read_bytes()
        bundle = before.bundle.read_bytes()
    with Cloud(config, data=tmp_path) as after:
        assert (after.environ("web"), after.plain_url) == (environ, plain)
        assert after.bundle.read_bytes() == bundle
    assert (tmp_path / "keys" / "id-tokens.pem").read_bytes() == key
