"""Service accounts, their identity, and custom roles by Google's clients."""

import json
from pathlib import Path
from typing import Any

import google.auth
import httpx
import pytest
from google.api_core.exceptions import AlreadyExists, NotFound, PermissionDenied
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import iam_admin_v1, run_v2
from google.iam.v1.iam_policy_pb2 import GetIamPolicyRequest, SetIamPolicyRequest
from google.iam.v1.policy_pb2 import Binding, Policy
from google.oauth2 import service_account

from devenv.gcp import Cloud
from tests.emulator.conftest import ActAs

PROJECT = "projects/validibot-local"
DOMAIN = "validibot-local.iam.gserviceaccount.com"
JOB = f"{PROJECT}/locations/us-west1/jobs/validibot-validator-fmu"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
URL = f"https://iam.googleapis.com/v1/{PROJECT}"


def session() -> Any:
    credentials, _ = google.auth.default(scopes=[SCOPE])
    return AuthorizedSession(credentials)  # type: ignore[no-untyped-call]


def create(client: iam_admin_v1.IAMClient, account_id: str) -> iam_admin_v1.ServiceAccount:
    wanted = iam_admin_v1.ServiceAccount(display_name="A robot")
    request = iam_admin_v1.CreateServiceAccountRequest(
        name=PROJECT, account_id=account_id, service_account=wanted
    )
    return client.create_service_account(request=request)


def allow(resource: str, role: str, account: str) -> None:
    binding = Binding(role=role, members=[f"serviceAccount:{account}@{DOMAIN}"])
    request = SetIamPolicyRequest(resource=resource, policy=Policy(bindings=[binding]))
    with run_v2.JobsClient() as jobs:
        jobs.set_iam_policy(request=request)


def test_client_creates_changes_and_deletes_account(act_as: ActAs) -> None:
    act_as("admin")
    with iam_admin_v1.IAMClient() as client:
        made = create(client, "made-by-api")
        made.description = "Made by a test"
        changed = client.patch_service_account(
            request={"service_account": made, "update_mask": {"paths": ["description"]}}
        )
        listed = [each.email for each in client.list_service_accounts(name=PROJECT)]
        with pytest.raises(AlreadyExists, match="already exists within project"):
            create(client, "made-by-api")
        client.delete_service_account(name=made.name)
        with pytest.raises(NotFound):
            client.get_service_account(name=made.name)

    assert made.email == f"made-by-api@{DOMAIN}"
    assert (changed.display_name, changed.description) == ("A robot", "Made by a test")
    assert {made.email, f"admin@{DOMAIN}"} <= set(listed)


def test_account_is_the_same_by_rest(act_as: ActAs) -> None:
    act_as("admin")
    body = {"accountId": "made-by-rest", "serviceAccount": {"displayName": "R"}}
    with session() as rest:
        made = rest.post(f"{URL}/serviceAccounts", json=body).json()
        with iam_admin_v1.IAMClient() as client:
            found = client.get_service_account(name=made["name"])
        refused = rest.post(f"{URL}/serviceAccounts", json={"accountId": "Bad!"}).json()["error"]
        rest.delete(f"https://iam.googleapis.com/v1/{made['name']}").raise_for_status()

    assert (found.unique_id, found.display_name) == (made["uniqueId"], "R")
    assert refused["status"] == "INVALID_ARGUMENT"
    assert "length between 6 and 30" in refused["message"]


def test_account_without_right_to_create_is_refused(act_as: ActAs) -> None:
    act_as("guest")
    with (
        iam_admin_v1.IAMClient() as client,
        pytest.raises(PermissionDenied, match=r"iam\.serviceAccounts\.create"),
    ):
        create(client, "never-made")


def test_new_account_has_an_identity_at_once(act_as: ActAs, cloud: Cloud) -> None:
    """Its metadata port is opened at runtime, and closed when the account is deleted."""
    act_as("admin")
    with iam_admin_v1.IAMClient() as client:
        made = create(client, "workload")
        allow(JOB, "roles/run.viewer", "workload")

        act_as("workload")
        with run_v2.JobsClient() as jobs:
            assert jobs.get_job(name=JOB).name == JOB
        host = cloud.environ("workload")["GCE_METADATA_HOST"]
        root = httpx.get(f"http://{host}/", trust_env=False)

        client.delete_service_account(name=made.name)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{host}/", trust_env=False)
    assert root.headers["metadata-flavor"] == "Google"


def test_key_file_of_new_account_works_until_it_is_disabled(act_as: ActAs, tmp_path: Path) -> None:
    act_as("admin")
    file = tmp_path / "key.json"
    with iam_admin_v1.IAMClient() as client, run_v2.JobsClient() as jobs:
        made = create(client, "key-holder")
        allow(JOB, "roles/run.viewer", "key-holder")
        key = client.create_service_account_key(name=made.name)
        file.write_bytes(key.private_key_data)
        credentials: Any = service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
            str(file), scopes=[SCOPE]
        )
        credentials.refresh(Request())
        url = f"https://run.googleapis.com/v2/{JOB}"
        rest: Any = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        before = rest.get(url)
        client.disable_service_account(request={"name": made.name})
        during = httpx.get(url, headers={"Authorization": f"Bearer {credentials.token}"})
        client.enable_service_account(request={"name": made.name})
        after = rest.get(url)
        client.delete_service_account(name=made.name)
        jobs.set_iam_policy(request=SetIamPolicyRequest(resource=JOB, policy=Policy()))

    assert json.loads(file.read_text())["client_email"] == made.email
    assert (before.status_code, during.status_code, after.status_code) == (200, 401, 200)
    assert during.json()["error"]["details"][0]["reason"] == "ACCOUNT_STATE_INVALID"


def test_restored_account_gets_its_rights_back_and_a_new_one_does_not(act_as: ActAs) -> None:
    act_as("admin")
    with iam_admin_v1.IAMClient() as client, run_v2.JobsClient() as jobs:
        made = create(client, "came-back")
        allow(JOB, "roles/run.viewer", "came-back")
        client.delete_service_account(name=made.name)
        (gone,) = jobs.get_iam_policy(request=GetIamPolicyRequest(resource=JOB)).bindings
        again = create(client, "came-back")
        client.delete_service_account(name=again.name)
        client.undelete_service_account(
            request={"name": f"{PROJECT}/serviceAccounts/{made.unique_id}"}
        )
        (back,) = jobs.get_iam_policy(request=GetIamPolicyRequest(resource=JOB)).bindings
        client.delete_service_account(name=made.name)
        jobs.set_iam_policy(request=SetIamPolicyRequest(resource=JOB, policy=Policy()))

    assert list(gone.members) == [f"deleted:serviceAccount:{made.email}?uid={made.unique_id}"]
    assert list(back.members) == [f"serviceAccount:{made.email}"]
    assert again.unique_id != made.unique_id


def test_custom_role_grants_what_it_has_now(act_as: ActAs) -> None:
    act_as("admin")
    with iam_admin_v1.IAMClient() as client:
        wanted = iam_admin_v1.Role(title="Reader", included_permissions=["run.jobs.get"])
        role = client.create_role(
            request={"parent": PROJECT, "role_id": "jobReader", "role": wanted}
        )
        allow(JOB, role.name, "guest")

        act_as("guest")
        with run_v2.JobsClient() as guest:
            assert guest.get_job(name=JOB).name == JOB
            wanted.included_permissions = ["run.jobs.list"]
            client.update_role(
                request={
                    "name": role.name,
                    "role": wanted,
                    "update_mask": {"paths": ["included_permissions"]},
                }
            )
            with pytest.raises(PermissionDenied, match=r"run\.jobs\.get"):
                guest.get_job(name=JOB)
        deleted = client.delete_role(request={"name": role.name})
        names = [each.name for each in client.list_roles(request={"parent": PROJECT})]
        predefined = client.get_role(request={"name": "roles/run.invoker"})
    act_as("admin")
    with run_v2.JobsClient() as jobs:
        jobs.set_iam_policy(request=SetIamPolicyRequest(resource=JOB, policy=Policy()))

    assert deleted.deleted
    assert role.name not in names
    assert "run.routes.invoke" in predefined.included_permissions
