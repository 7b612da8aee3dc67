"""IAM refusals over gRPC and REST, with the missing permission."""

from collections.abc import Mapping
from typing import Any

import google.auth
import grpc
import httpx
import pytest
from google.api_core.exceptions import GoogleAPICallError, PermissionDenied
from google.auth.transport.requests import AuthorizedSession
from google.cloud import run_v2, tasks_v2

from devenv.gcp import Cloud
from tests.emulator.conftest import ActAs
from tests.waiting import LIMIT

PLACE = "projects/validibot-local/locations/us-west1"
JOB = f"{PLACE}/jobs/validibot-validator-fmu"
QUEUE = f"{PLACE}/queues/runs"


def test_refusal_names_permission_and_role(act_as: ActAs) -> None:
    act_as("web")
    with run_v2.JobsClient() as client, pytest.raises(PermissionDenied) as refused:
        client.run_job(name=JOB)

    assert refused.value.message == (
        f"Permission 'run.jobs.run' denied on resource '{JOB}' (or resource may not exist)."
    )
    info, hint = refused.value.details
    assert info.metadata["permission"] == "run.jobs.run"
    assert 'member = "web"' in hint.message


def test_cloud_tasks_refusal_has_its_own_text(act_as: ActAs) -> None:
    act_as("worker")
    with tasks_v2.CloudTasksClient() as client, pytest.raises(PermissionDenied) as refused:
        client.pause_queue(name=QUEUE)

    assert 'lacks IAM permission "cloudtasks.queues.pause"' in refused.value.message


def test_task_with_token_needs_act_as_on_its_account(act_as: ActAs) -> None:
    act_as("worker")
    token = tasks_v2.OidcToken(service_account_email="web@validibot-local.iam.gserviceaccount.com")
    request = tasks_v2.HttpRequest(url="http://127.0.0.1:1/", oidc_token=token)
    with tasks_v2.CloudTasksClient() as client, pytest.raises(PermissionDenied, match="actAs"):
        client.create_task(parent=QUEUE, task=tasks_v2.Task(http_request=request))


@pytest.mark.parametrize(
    ("account", "path", "call"),
    [
        ("web", f"/v2/{JOB}:run", lambda: run_v2.JobsClient().run_job(name=JOB)),
        ("worker", f"/v2/{JOB}x:run", lambda: run_v2.JobsClient().run_job(name=f"{JOB}x")),
    ],
)
def test_rest_and_grpc_refuse_alike(
    cloud: Cloud, act_as: ActAs, account: str, path: str, call: Any
) -> None:
    act_as(account)
    with pytest.raises(GoogleAPICallError) as refused:
        call()

    error = rest(cloud, account, path)["error"]
    code = refused.value.grpc_status_code
    assert code
    assert (error["message"], error["status"]) == (refused.value.message, code.name)
    assert len(error.get("details", ())) == len(refused.value.details)


def test_call_without_token_is_unauthenticated(cloud: Cloud) -> None:
    answer = httpx.get(f"{cloud.plain_url}/v2/{JOB}", trust_env=False)

    assert answer.status_code == 401
    assert answer.json()["error"]["details"][0]["reason"] == "CREDENTIALS_MISSING"


def test_plaintext_grpc_is_served_on_plain_port(cloud: Cloud) -> None:
    address = cloud.plain_url.removeprefix("http://")
    with grpc.insecure_channel(address) as channel:
        method = channel.unary_unary("/google.cloud.run.v2.Jobs/GetJob")
        with pytest.raises(grpc.RpcError) as refused:
            method(b"", timeout=LIMIT)

    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


def rest(cloud: Cloud, account: str, path: str) -> Mapping[str, Any]:
    """POST nothing to the plain port as `account`."""
    metadata = f"http://{cloud.environ(account)['GCE_METADATA_HOST']}/computeMetadata/v1/instance"
    token = httpx.get(
        f"{metadata}/service-accounts/default/token",
        headers={"Metadata-Flavor": "Google"},
        trust_env=False,
    ).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.post(f"{cloud.plain_url}{path}", json={}, headers=headers, trust_env=False)
    body: Mapping[str, Any] = answer.json()
    return body


ACCOUNT = "projects/validibot-local/serviceAccounts/tasks@validibot-local.iam.gserviceaccount.com"


@pytest.mark.parametrize(
    ("url", "permission"),
    [
        (f"https://run.googleapis.com/v2/{JOB}", "run.jobs.runWithOverrides"),
        (f"https://cloudtasks.googleapis.com/v2/{QUEUE}", "cloudtasks.tasks.create"),
        (f"https://iam.googleapis.com/v1/{ACCOUNT}", "iam.serviceAccounts.actAs"),
        (
            "https://cloudresourcemanager.googleapis.com/v3/projects/validibot-local",
            "run.executions.get",
        ),
    ],
)
def test_missing_permissions_are_left_out(act_as: ActAs, url: str, permission: str) -> None:
    act_as("worker")
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    session: Any = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
    wanted = {"permissions": [permission, "storage.buckets.delete"]}

    answer = session.post(f"{url}:testIamPermissions", json=wanted)

    assert answer.json() == {"permissions": [permission]}


def test_client_tests_permissions_of_queue(act_as: ActAs) -> None:
    act_as("tasks")
    with tasks_v2.CloudTasksClient() as client:
        answer = client.test_iam_permissions(
            resource=QUEUE, permissions=["cloudtasks.tasks.create"]
        )

    assert list(answer.permissions) == []
