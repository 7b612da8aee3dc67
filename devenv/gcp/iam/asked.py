"""TestIamPermissions: which of some permissions the caller has on a resource, of whatever service.

https://cloud.google.com/iam/docs/testing-permissions: what he lacks is left out, never refused.
"""

from typing import Any

from google.iam.v1 import iam_policy_pb2
from google.protobuf.message import Message

from devenv.gcp.caller import Call
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.iam.guard import Iam
from devenv.gcp.rpc import Binding, Rpc

_MOST = 100
_LOCATION = "projects/*/locations/*"
# Of each service the gRPC name and the path of its REST method.
_SERVICES = {
    "google.cloud.run.v2.Jobs": f"/v2/{{resource={_LOCATION}/jobs/*}}",
    "google.cloud.run.v2.Services": f"/v2/{{resource={_LOCATION}/services/*}}",
    "google.cloud.tasks.v2.CloudTasks": f"/v2/{{resource={_LOCATION}/queues/*}}",
    "google.iam.admin.v1.IAM": "/v1/{resource=projects/*/serviceAccounts/*}",
    "google.cloud.resourcemanager.v3.Projects": "/v3/{resource=projects/*}",
}


def rpcs(iam: Iam) -> tuple[Rpc, ...]:
    """Return the method of every service that has one."""

    async def handle(request: Any, call: Call) -> Message:
        if len(request.permissions) > _MOST:
            raise InvalidArgument(f"At most {_MOST} permissions can be tested at once.")
        held = [p for p in request.permissions if iam.allows(call.caller, p, request.resource)]
        answer: Message = iam_policy_pb2.TestIamPermissionsResponse(permissions=held)
        return answer

    return tuple(
        Rpc(
            f"{service}/TestIamPermissions",
            iam_policy_pb2.TestIamPermissionsRequest,
            iam_policy_pb2.TestIamPermissionsResponse,
            handle,
            (Binding("POST", f"{path}:testIamPermissions", "*"),),
        )
        for service, path in _SERVICES.items()
    )
