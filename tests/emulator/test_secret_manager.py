"""Secret Manager by Google's client: versions, refusals, and the rights on one secret."""

import pytest
from google.api_core.exceptions import BadRequest, NotFound, PermissionDenied
from google.cloud import secretmanager_v1
from google.iam.v1.iam_policy_pb2 import SetIamPolicyRequest
from google.iam.v1.policy_pb2 import Binding, Policy

from devenv.gcp.config import CloudConfig
from tests.emulator.conftest import ActAs

PROJECT = "projects/validibot-local"
AUTOMATIC = secretmanager_v1.Secret(replication={"automatic": {}})
REGIONAL = secretmanager_v1.Secret()
Payload = secretmanager_v1.SecretPayload


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_client_creates_reads_and_destroys_a_secret(act_as: ActAs, transport: str) -> None:
    act_as("admin")
    client = secretmanager_v1.SecretManagerServiceClient(transport=transport)
    secret = client.create_secret(parent=PROJECT, secret_id=f"by-{transport}", secret=AUTOMATIC)
    version = client.add_secret_version(parent=secret.name, payload=Payload(data=b"value"))
    latest = f"{secret.name}/versions/latest"

    assert client.access_secret_version(name=latest).payload.data == b"value"
    client.destroy_secret_version(name=version.name)
    with pytest.raises(BadRequest, match="DESTROYED"):
        client.access_secret_version(name=latest)
    assert [each.name for each in client.list_secret_versions(parent=secret.name)] == [version.name]
    client.delete_secret(name=secret.name)
    with pytest.raises(NotFound):
        client.get_secret(name=secret.name)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_host_knows_the_secrets_of_its_location_alone(act_as: ActAs, transport: str) -> None:
    act_as("admin")
    client = secretmanager_v1.SecretManagerServiceClient
    near = {"api_endpoint": "secretmanager.us-west1.rep.googleapis.com"}
    here, everywhere = client(client_options=near, transport=transport), client(transport=transport)
    parent = f"{PROJECT}/locations/us-west1"
    secret = here.create_secret(parent=parent, secret_id="near", secret=REGIONAL)
    here.add_secret_version(parent=secret.name, payload=Payload(data=b"near"))
    latest = f"{secret.name}/versions/latest"
    policy = here.get_iam_policy(request={"resource": secret.name})

    assert here.access_secret_version(name=latest).payload.data == b"near"
    assert list(policy.bindings) == []
    assert secret.name not in [each.name for each in everywhere.list_secrets(parent=PROJECT)]
    with pytest.raises(BadRequest, match=r"expected format \[projects/\*/secrets/\*/versions/\*\]"):
        everywhere.access_secret_version(name=latest)
    with pytest.raises(BadRequest, match=r"expected format \[projects/\*/locations/\*\]"):
        here.list_secrets(parent=PROJECT)
    here.delete_secret(name=secret.name)


def test_accessor_of_one_secret_reads_no_other(act_as: ActAs, config: CloudConfig) -> None:
    act_as("admin")
    admin = secretmanager_v1.SecretManagerServiceClient()
    names = []
    for short in ("mine", "other"):
        secret = admin.create_secret(parent=PROJECT, secret_id=short, secret=AUTOMATIC)
        admin.add_secret_version(parent=secret.name, payload=Payload(data=short.encode()))
        names.append(secret.name)
    accessor = Binding(
        role="roles/secretmanager.secretAccessor",
        members=[f"serviceAccount:{config.email('guest')}"],
    )
    request = SetIamPolicyRequest(resource=names[0], policy=Policy(bindings=[accessor]))
    admin.set_iam_policy(request=request)

    act_as("guest")
    guest = secretmanager_v1.SecretManagerServiceClient()
    answer = guest.access_secret_version(name=f"{names[0]}/versions/latest")
    with pytest.raises(PermissionDenied, match=r"secretmanager\.versions\.access"):
        guest.access_secret_version(name=f"{names[1]}/versions/latest")
    for name in names:
        admin.delete_secret(name=name)

    assert answer.payload.data == b"mine"
