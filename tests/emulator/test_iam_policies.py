"""IAM policies by Google's clients: read, change, write, and the rights that follow."""

from typing import Any

import google.auth
import pytest
from google.api_core.exceptions import (
    Aborted,
    GoogleAPICallError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
)
from google.auth.transport.requests import AuthorizedSession
from google.cloud import iam_admin_v1, run_v2, storage, tasks_v2
from google.iam.v1.iam_policy_pb2 import GetIamPolicyRequest, SetIamPolicyRequest
from google.iam.v1.policy_pb2 import Binding, Policy

from tests.emulator.conftest import ActAs

PROJECT = "projects/validibot-local"
PLACE = f"{PROJECT}/locations/us-west1"
JOB = f"{PLACE}/jobs/validibot-validator-fmu"
QUEUE = f"{PLACE}/queues/runs"
SERVICE = f"{PLACE}/services/validibot-worker"
DOMAIN = "validibot-local.iam.gserviceaccount.com"
ACCOUNT = f"{PROJECT}/serviceAccounts/tasks@{DOMAIN}"
MEMBER = f"serviceAccount:guest@{DOMAIN}"


@pytest.mark.parametrize(
    ("client", "resource", "role"),
    [
        (tasks_v2.CloudTasksClient, QUEUE, "roles/cloudtasks.enqueuer"),
        (run_v2.JobsClient, JOB, "roles/run.invoker"),
        (run_v2.ServicesClient, SERVICE, "roles/run.invoker"),
        (iam_admin_v1.IAMClient, ACCOUNT, "roles/iam.serviceAccountUser"),
    ],
)
def test_client_reads_changes_and_writes_policy(
    act_as: ActAs, client: Any, resource: str, role: str
) -> None:
    act_as("admin")
    with client() as it:
        policy = it.get_iam_policy(request=GetIamPolicyRequest(resource=resource))
        policy.bindings.append(Binding(role=role, members=[MEMBER]))
        written = it.set_iam_policy(request=SetIamPolicyRequest(resource=resource, policy=policy))
        again = it.get_iam_policy(request=GetIamPolicyRequest(resource=resource))

        assert again == written
        assert any(each.role == role and MEMBER in each.members for each in again.bindings)
        with pytest.raises(Aborted):
            it.set_iam_policy(request=SetIamPolicyRequest(resource=resource, policy=policy))
        with pytest.raises(NotFound):
            it.get_iam_policy(request=GetIamPolicyRequest(resource=f"{resource}x"))


def test_granted_role_counts_at_once(act_as: ActAs) -> None:
    act_as("guest")
    with run_v2.JobsClient() as client, pytest.raises(PermissionDenied):
        client.get_job(name=JOB)

    act_as("admin")
    viewer = Policy(bindings=[Binding(role="roles/run.viewer", members=[MEMBER])])
    with run_v2.JobsClient() as client:
        client.set_iam_policy(request=SetIamPolicyRequest(resource=JOB, policy=viewer))

    act_as("guest")
    with run_v2.JobsClient() as client:
        assert client.get_job(name=JOB).name == JOB
        with pytest.raises(PermissionDenied, match="setIamPolicy"):
            client.set_iam_policy(request=SetIamPolicyRequest(resource=JOB, policy=viewer))


def test_new_bucket_does_not_inherit_the_policy_of_a_deleted_one(act_as: ActAs) -> None:
    act_as("admin")
    client = storage.Client()
    bucket = client.create_bucket("short-lived")
    policy = bucket.get_iam_policy()
    policy["roles/storage.objectViewer"] = {MEMBER}
    bucket.set_iam_policy(policy)
    bucket.delete()

    assert not dict(client.create_bucket("short-lived").get_iam_policy())


def test_bucket_policy_with_condition_limits_objects(act_as: ActAs) -> None:
    act_as("admin")
    bucket = storage.Client().bucket("validibot-local")
    for name in ("in/a", "out/a"):
        bucket.blob(name).upload_from_string("data")
    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.version = 3
    inside = "resource.name.startsWith('projects/_/buckets/validibot-local/objects/in/')"
    policy.bindings.append(
        {
            "role": "roles/storage.objectViewer",
            "members": [MEMBER],
            "condition": {"title": "in", "expression": inside},
        }
    )
    bucket.set_iam_policy(policy)
    with pytest.raises(PreconditionFailed):
        bucket.set_iam_policy(policy)

    act_as("guest")
    mine = storage.Client().bucket("validibot-local")
    assert mine.blob("in/a").download_as_bytes() == b"data"
    with pytest.raises(GoogleAPICallError, match=r"storage\.objects\.get"):
        mine.blob("out/a").download_as_bytes()


@pytest.mark.parametrize(
    "url",
    [
        f"https://cloudresourcemanager.googleapis.com/v3/{PROJECT}",
        f"https://cloudresourcemanager.googleapis.com/v1/{PROJECT}",
    ],
)
def test_project_policy_is_read_by_rest(act_as: ActAs, url: str) -> None:
    act_as("admin")
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    session: Any = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]

    policy = session.post(f"{url}:getIamPolicy", json={}).json()

    member = f"serviceAccount:admin@{DOMAIN}"
    admins = next(each for each in policy["bindings"] if each["role"].endswith("projectIamAdmin"))
    assert member in admins["members"]


def test_unknown_member_is_refused_by_name(act_as: ActAs) -> None:
    act_as("admin")
    wanted = Policy(bindings=[Binding(role="roles/run.viewer", members=["someone"])])
    with run_v2.JobsClient() as client, pytest.raises(InvalidArgument, match="someone"):
        client.set_iam_policy(request=SetIamPolicyRequest(resource=JOB, policy=wanted))
