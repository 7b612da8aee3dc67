"""Tokens and keys as Google's own libraries fetch, verify, exchange and downscope them."""

# mypy: disable-error-code="no-untyped-call"

import datetime as dt
import json
from pathlib import Path

import google.auth
import httpx
import pytest
from django.utils import timezone
from google.api_core.exceptions import Forbidden, PermissionDenied
from google.auth import compute_engine, downscoped, impersonated_credentials, jwt
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.cloud import iam_admin_v1, iam_credentials_v1
from google.cloud.storage import Client
from google.cloud.tasks_v2 import CloudTasksClient, Task
from google.oauth2 import id_token, service_account
from google.oauth2.credentials import Credentials

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.emulator.conftest import ActAs

AUDIENCE = "https://validibot-worker-123456789012.us-west1.run.app"
BUCKET = "validibot-local"


def test_google_library_verifies_fetched_id_token(act_as: ActAs) -> None:
    act_as("validator-fmu")

    token = id_token.fetch_id_token(Request(), AUDIENCE)
    claims = id_token.verify_oauth2_token(token, Request(), audience=AUDIENCE)

    assert claims["email"] == "validator-fmu@validibot-local.iam.gserviceaccount.com"
    assert claims["email_verified"] is True


def test_google_library_refuses_token_for_other_audience(act_as: ActAs) -> None:
    act_as("web")
    token = id_token.fetch_id_token(Request(), "https://elsewhere.example")

    with pytest.raises((ValueError, GoogleAuthError), match="audience"):
        id_token.verify_oauth2_token(token, Request(), audience=AUDIENCE)


def test_default_credentials_are_those_of_workload(act_as: ActAs) -> None:
    act_as("worker")

    credentials, project = google.auth.default()
    credentials.refresh(Request())

    assert project == "validibot-local"
    assert isinstance(credentials, compute_engine.Credentials)
    assert credentials.service_account_email == "worker@validibot-local.iam.gserviceaccount.com"


def test_downscoped_token_reads_only_inside_its_boundary(act_as: ActAs) -> None:
    act_as("web")
    with Client() as client:
        client.bucket(BUCKET).blob("inside/a").upload_from_string("a")
        client.bucket(BUCKET).blob("outside/a").upload_from_string("a")

    with Client(credentials=_only("inside/")) as downscoped_client:
        assert downscoped_client.bucket(BUCKET).blob("inside/a").download_as_bytes() == b"a"
        with pytest.raises(Forbidden, match=r"storage\.objects\.get"):
            downscoped_client.bucket(BUCKET).blob("outside/a").download_as_bytes()


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


def test_tokens_and_ports_survive_restart(config: CloudConfig, tmp_path: Path) -> None:
    with Cloud(config, data=tmp_path) as before:
        environ, plain = before.environ("web"), before.plain_url
        key = (tmp_path / "keys" / "id-tokens.pem").read_bytes()
        bundle = before.bundle.read_bytes()
    remembered = Path(environ["CLOUDSDK_CONFIG"]) / "gce"
    remembered.write_text("False")
    with Cloud(config, data=tmp_path) as after:
        assert (after.environ("web"), after.plain_url) == (environ, plain)
        assert after.bundle.read_bytes() == bundle
        assert not remembered.exists()
    assert (tmp_path / "keys" / "id-tokens.pem").read_bytes() == key


WEB = "web@validibot-local.iam.gserviceaccount.com"
QUEUE = "projects/validibot-local/locations/us-west1/queues/runs"
PLATFORM = "https://www.googleapis.com/auth/cloud-platform"


def test_downscoped_token_cannot_create_task(act_as: ActAs) -> None:
    act_as("web")
    with (
        CloudTasksClient(credentials=_only("inside/")) as client,
        pytest.raises(PermissionDenied, match="Cloud Storage only"),
    ):
        client.create_task(parent=QUEUE, task=Task())


def test_key_file_works_with_clients(act_as: ActAs, tmp_path: Path) -> None:
    """The Tasks client signs a JWT for each call; the storage client exchanges one for a token."""
    act_as("admin")
    with iam_admin_v1.IAMClient() as admin:
        key = admin.create_service_account_key(name=f"projects/-/serviceAccounts/{WEB}")
    file = tmp_path / "key.json"
    file.write_bytes(key.private_key_data)

    with Client.from_service_account_json(str(file)) as client:
        blob = client.bucket(BUCKET).blob("key/a")
        blob.upload_from_string("a")
        assert httpx_get(blob.generate_signed_url(60, version="v4")) == b"a"
    with CloudTasksClient.from_service_account_file(str(file)) as client:
        task = {
            "http_request": {"url": "http://127.0.0.1:1/"},
            "schedule_time": timezone.now() + dt.timedelta(hours=1),
        }
        assert client.create_task(parent=QUEUE, task=task).name
        with pytest.raises(PermissionDenied, match="pause"):
            client.pause_queue(name=QUEUE)
    identity = service_account.IDTokenCredentials.from_service_account_file(
        str(file), target_audience=AUDIENCE
    )
    identity.refresh(Request())
    assert (
        id_token.verify_oauth2_token(identity.token, Request(), audience=AUDIENCE)["email"] == WEB
    )


def httpx_get(url: str) -> bytes:
    return httpx.get(url).content


def test_credentials_api_answers_grpc_and_needs_token_creator(act_as: ActAs) -> None:
    act_as("admin")
    name = f"projects/-/serviceAccounts/{WEB}"
    with iam_credentials_v1.IAMCredentialsClient() as client:
        token = client.generate_access_token(name=name, scope=[PLATFORM]).access_token
        signed = client.sign_jwt(name=name, payload=json.dumps({"aud": "x", "iat": 1})).signed_jwt
        assert client.sign_blob(name=name, payload=b"a").signed_blob
        identity = client.generate_id_token(name=name, audience=AUDIENCE, include_email=True)
    with Client(project="validibot-local", credentials=Credentials(token)) as storage:
        storage.bucket(BUCKET).blob("impersonated").upload_from_string("a")
    assert (
        id_token.verify_oauth2_token(identity.token, Request(), audience=AUDIENCE)["email"] == WEB
    )
    certificates = httpx.get(f"https://www.googleapis.com/robot/v1/metadata/x509/{WEB}").json()
    assert jwt.decode(signed, certificates, audience="x")["aud"] == "x"

    act_as("worker")
    with (
        iam_credentials_v1.IAMCredentialsClient() as client,
        pytest.raises(PermissionDenied, match="getAccessToken"),
    ):
        client.generate_access_token(name=name, scope=[PLATFORM])


def test_impersonated_credentials_have_their_scope_only(act_as: ActAs) -> None:
    act_as("admin")
    source, _ = google.auth.default(scopes=[PLATFORM])
    scope = "https://www.googleapis.com/auth/devstorage.read_only"
    weak = impersonated_credentials.Credentials(source, WEB, [scope])

    with Client(project="validibot-local", credentials=weak) as client:
        assert list(client.list_blobs(BUCKET, max_results=1)) is not None
        with pytest.raises(Forbidden, match=r"storage\.objects\.create"):
            client.bucket(BUCKET).blob("refused").upload_from_string("a")
