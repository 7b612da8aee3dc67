"""IAM decisions: whether a caller may do something, and the refusal that names what is missing.

Bindings come from devenv.toml and are inherited downwards. A refusal has Google's text and, as a
second detail, the line for devenv.toml that would allow the call. The token limits come first, in
every mode: a downscoped token works with Cloud Storage only, and a token with scopes works with
the services of its scopes.
"""

import logging
from typing import Any

from google.iam.v1 import iam_policy_pb2
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, LocalizedMessage

from devenv.gcp.caller import ApiCall, ApiCaller
from devenv.gcp.config import CloudConfig, IamBinding
from devenv.gcp.errors import InvalidArgument, PermissionDenied
from devenv.gcp.iam.roles import permissions, smallest_role_with
from devenv.gcp.rpc import HttpRule, Rpc

log = logging.getLogger(__name__)
_SHORT = {
    "buckets": "bucket",
    "jobs": "job",
    "queues": "queue",
    "serviceAccounts": "account",
    "services": "service",
}
# The scopes, beside that of the cloud platform, that give access to a service.
_SCOPES = {
    "storage": {"devstorage.full_control", "devstorage.read_write"},
    "cloudtasks": {"cloud-tasks"},
    "iam": {"iam"},
}
_EVERYBODY = "allUsers"
_EVERY_ACCOUNT = "allAuthenticatedUsers"


class Iam:
    """The Guard of one project: bindings of devenv.toml, inherited downwards."""

    def __init__(self, config: CloudConfig) -> None:
        self._mode = config.iam
        self._config = config
        invokers = (
            IamBinding(_EVERYBODY, "roles/run.invoker", f"service/{service.name}")
            for service in config.services
            if service.public
        )
        self._held: dict[tuple[str, str], set[str]] = {}
        for binding in (*config.bindings, *invokers):
            slot = (self._member(binding.member), self._resource(binding.resource))
            self._held.setdefault(slot, set()).update(permissions([binding.role]))

    def require(self, caller: ApiCaller, permission: str, resource: str) -> None:
        # Here the token is limited, not the account: no mode lifts that.
        if _is_bounded(caller, permission):
            raise PermissionDenied(_BOUNDED.format(permission=permission))
        if not _is_in_scope(caller, permission):
            reason = ErrorInfo(reason="ACCESS_TOKEN_SCOPE_INSUFFICIENT", domain="googleapis.com")
            raise PermissionDenied("Request had insufficient authentication scopes.", (reason,))
        if self._mode == "off" or self.allows(caller, permission, resource):
            return
        hint = self._hint(caller.email, permission, resource)
        log.warning("%s", hint)
        if self._mode == "strict":
            raise _refusal(permission, resource, hint)

    def allows(self, caller: ApiCaller, permission: str, resource: str) -> bool:
        """Return whether a binding grants `permission`, whatever the mode."""
        if _is_bounded(caller, permission) or not _is_in_scope(caller, permission):
            return False
        email = caller.email
        members = (email, _EVERY_ACCOUNT, _EVERYBODY) if email else (_EVERYBODY,)
        places = self._places(resource)
        return any(
            permission in self._held.get((member, place), ())
            for member in members
            for place in places
        )

    def _places(self, resource: str) -> list[str]:
        """Return `resource` and everything above it, from which it inherits."""
        name = resource.replace("projects/-/", f"projects/{self._config.project}/", 1)
        parts = name.split("/")
        above = ["/".join(parts[: end + 1]) for end in range(3, len(parts), 2)]
        return [self._resource("project"), *above]

    def _member(self, member: str) -> str:
        if member in (_EVERYBODY, _EVERY_ACCOUNT):
            return member
        return self._config.email(member.removeprefix("serviceAccount:"))

    def _resource(self, short: str) -> str:
        """Return the full name of devenv.toml's `project`, `queue/NAME`, `bucket/NAME` and so on."""
        kind, _, name = short.partition("/")
        project = f"projects/{self._config.project}"
        match kind:
            case "project":
                return project
            case "bucket":
                return f"projects/_/buckets/{name}"
            case "account":
                return f"{project}/serviceAccounts/{self._config.email(name)}"
            case _:
                return f"{project}/locations/{self._config.region}/{kind}s/{name}"

    def _hint(self, email: str, permission: str, resource: str) -> str:
        who = email.partition("@")[0] or _EVERYBODY
        role = smallest_role_with(permission)
        if role is None:
            return f"{who} lacks {permission} on {resource}; no role known here has it."
        return (
            f"{who} lacks {permission} on {resource}. {role} has it; in devenv.toml: "
            f'{{ member = "{who}", role = "{role}", resource = "{_short(resource)}" }}'
        )


def _is_bounded(caller: ApiCaller, permission: str) -> bool:
    """Return whether the caller's token is downscoped and this is not Cloud Storage.

    Only Cloud Storage supports access boundaries; it checks the boundary's rules itself.
    """
    return caller.boundary is not None and not permission.startswith("storage.")


def _is_in_scope(caller: ApiCaller, permission: str) -> bool:
    """Return whether one of the token's scopes covers the permission's service.

    https://developers.google.com/identity/protocols/oauth2/scopes
    """
    service, _, rest = permission.partition(".")
    scopes = {scope.removeprefix("https://www.googleapis.com/auth/") for scope in caller.scopes}
    if not scopes or "cloud-platform" in scopes or scopes & _SCOPES.get(service, set()):
        return True
    is_reading = service == "storage" and rest.endswith((".get", ".list"))
    return is_reading and "devstorage.read_only" in scopes


def _short(resource: str) -> str:
    """Return how devenv.toml names `resource` or what it belongs to."""
    parts = resource.split("/")
    for collection, name in zip(parts[::2], parts[1::2], strict=False):
        if collection in _SHORT:
            return f"{_SHORT[collection]}/{name.partition('@')[0]}"
    return "project"


def _refusal(permission: str, resource: str, hint: str) -> PermissionDenied:
    service = permission.partition(".")[0]
    text = _LACKS if service in ("cloudtasks", "cloudscheduler") else _DENIED
    info = ErrorInfo(
        reason="IAM_PERMISSION_DENIED",
        domain="iam.googleapis.com",
        metadata={"permission": permission, "resource": resource},
    )
    message = text.format(permission=permission, resource=resource)
    return PermissionDenied(message, (info, LocalizedMessage(locale="en", message=hint)))


_BOUNDED = (
    "Permission '{permission}' denied: the access token is downscoped by a Credential Access "
    "Boundary, which gives access to Cloud Storage only."
)
_DENIED = "Permission '{permission}' denied on resource '{resource}' (or resource may not exist)."
_LACKS = (
    'The principal (user or service account) lacks IAM permission "{permission}" for the resource '
    '"{resource}" (or the resource may not exist).'
)


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


def permission_rpcs(iam: Iam) -> tuple[Rpc, ...]:
    """Return TestIamPermissions of every service that has it.

    https://cloud.google.com/iam/docs/testing-permissions: missing permissions are left out.
    """

    async def handle(request: Any, call: ApiCall) -> Message:
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
            (HttpRule("POST", f"{path}:testIamPermissions", "*"),),
        )
        for service, path in _SERVICES.items()
    )
