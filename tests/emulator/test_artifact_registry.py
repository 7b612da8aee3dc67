"""Artifact Registry by Google's client, gRPC and REST: repositories and their rights."""

from typing import Any

import pytest
from google.api_core.exceptions import (
    BadRequest,
    Conflict,
    Forbidden,
    MethodNotImplemented,
    NotFound,
)
from google.cloud import artifactregistry_v1
from google.iam.v1.iam_policy_pb2 import GetIamPolicyRequest, SetIamPolicyRequest
from google.iam.v1.policy_pb2 import Binding, Policy

from devenv.gcp.config import CloudConfig
from tests.emulator.conftest import ActAs

PARENT = "projects/validibot-local/locations/us-west1"
DOCKER = artifactregistry_v1.Repository(format_="DOCKER", description="Images")


def done(operation: Any) -> Any:
    return operation.result(timeout=120)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_repository_is_created_changed_and_deleted(act_as: ActAs, transport: str) -> None:
    act_as("admin")
    name = f"images-{transport}"
    with artifactregistry_v1.ArtifactRegistryClient(transport=transport) as client:
        request = {"parent": PARENT, "repository_id": name, "repository": DOCKER}
        made = done(client.create_repository(request=request))
        with pytest.raises(Conflict, match="the repository already exists"):
            client.create_repository(request=request)
        wanted = artifactregistry_v1.Repository(name=made.name, labels={"team": "a"})
        changed = client.update_repository(
            request={"repository": wanted, "update_mask": {"paths": ["labels"]}}
        )
        listed = [each.name for each in client.list_repositories(parent=PARENT)]
        done(client.delete_repository(name=made.name))
        with pytest.raises(NotFound):
            client.get_repository(name=made.name)

    assert made.registry_uri == f"us-west1-docker.pkg.dev/validibot-local/{name}"
    assert (changed.description, dict(changed.labels)) == ("Images", {"team": "a"})
    assert made.name in listed


def test_invalid_repository_is_refused(act_as: ActAs) -> None:
    act_as("admin")
    with artifactregistry_v1.ArtifactRegistryClient() as client:
        for wanted, refusal in (
            ({"parent": PARENT, "repository_id": "Bad", "repository": DOCKER}, BadRequest),
            ({"parent": PARENT, "repository_id": "ok", "repository": {}}, BadRequest),
            (
                {
                    "parent": PARENT,
                    "repository_id": "ok",
                    "repository": {"format_": "DOCKER", "mode": "REMOTE_REPOSITORY"},
                },
                MethodNotImplemented,
            ),
        ):
            with pytest.raises(refusal):
                client.create_repository(request=wanted)


def test_reader_of_one_repository_reads_no_other(act_as: ActAs, config: CloudConfig) -> None:
    act_as("admin")
    with artifactregistry_v1.ArtifactRegistryClient() as admin:
        made = [
            done(
                admin.create_repository(
                    request={"parent": PARENT, "repository_id": name, "repository": DOCKER}
                )
            ).name
            for name in ("mine", "other")
        ]
        member = f"serviceAccount:{config.email('guest')}"
        reader = Policy(bindings=[Binding(role="roles/artifactregistry.reader", members=[member])])
        admin.set_iam_policy(SetIamPolicyRequest(resource=made[0], policy=reader))

        act_as("guest")
        with artifactregistry_v1.ArtifactRegistryClient() as guest:
            assert guest.get_repository(name=made[0]).name == made[0]
            with pytest.raises(Forbidden, match=r"artifactregistry\.repositories\.get"):
                guest.get_repository(name=made[1])
            with pytest.raises(Forbidden):
                guest.get_iam_policy(GetIamPolicyRequest(resource=made[0]))
        for name in made:
            done(admin.delete_repository(name=name))
