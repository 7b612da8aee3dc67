"""GetIamPolicy, SetIamPolicy and TestIamPermissions of every type of resource that has a policy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.protobuf.message import Message

from devenv.gcp.caller import ApiCall
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument, NotFound, wrong_project
from devenv.gcp.iam.guard import Iam
from devenv.gcp.iam.policies import Policies
from devenv.gcp.rpc import HttpRule, Rpc

_MOST = 100
_MASK = {"bindings", "etag", "version"}


@dataclass(frozen=True, slots=True)
class PolicyKind:
    """A type of resource with a policy.

    `service` is the gRPC service and `paths` are the REST paths that have the methods;
    `permission` is the prefix of their permissions (`run.jobs`); `{}` stands for the collection of
    the resource, where one method serves several types. `find` returns the full name of an
    existing resource with the project's id; it raises NotFound or InvalidArgument.
    """

    service: str
    paths: tuple[str, ...]
    permission: str
    find: Callable[[str], str]
    reading: str = "POST"  # the HTTP method of getIamPolicy

    def permission_on(self, name: str, verb: str) -> str:
        """Return the permission that a method needs on the resource of this full name."""
        return f"{self.permission.format(name.split('/')[-2])}.{verb}"


def own_policy_kinds(
    config: CloudConfig, is_account: Callable[[str], bool]
) -> tuple[PolicyKind, ...]:
    """Return the kinds of IAM itself: service accounts, and the project."""

    def account(resource: str) -> str:
        prefix, _, email = resource.partition("/serviceAccounts/")
        if prefix not in ("projects/-", f"projects/{config.project}"):
            raise InvalidArgument("resource must be formatted: projects/-/serviceAccounts/EMAIL.")
        if not is_account(email):
            raise NotFound(f"Unknown service account: {email[:200]}")
        return f"projects/{config.project}/serviceAccounts/{email}"

    def project(resource: str) -> str:
        name = resource.removeprefix("projects/")
        if name not in (config.project, config.number):
            raise wrong_project(name[:100], "cloudresourcemanager.googleapis.com")
        return f"projects/{config.project}"

    accounts = "/v1/{resource=projects/*/serviceAccounts/*}"
    projects = ("/v3/{resource=projects/*}", "/v1/projects/{resource=*}")
    return (
        PolicyKind("google.iam.admin.v1.IAM", (accounts,), "iam.serviceAccounts", account),
        PolicyKind(
            "google.cloud.resourcemanager.v3.Projects",
            projects,
            "resourcemanager.projects",
            project,
        ),
    )


class PolicyMethods:
    """The three methods, for any kind."""

    def __init__(self, policies: Policies, guard: Iam) -> None:
        self._policies = policies
        self._guard = guard

    def rpcs(self, kind: PolicyKind) -> Iterator[Rpc]:
        """Yield the methods of one kind."""

        async def get(request: Any, call: ApiCall) -> Message:
            name = kind.find(request.resource)
            self._guard.require(call.caller, kind.permission_on(name, "getIamPolicy"), name)
            version = request.options.requested_policy_version
            policy: Message = self._policies.read(name, version=version)
            return policy

        async def change(request: Any, call: ApiCall) -> Message:
            name = kind.find(request.resource)
            self._guard.require(call.caller, kind.permission_on(name, "setIamPolicy"), name)
            if not _MASK.issuperset(request.update_mask.paths):
                raise InvalidArgument("update_mask names a part of a policy that is not emulated.")
            policy: Message = self._policies.write(name, request.policy)
            return policy

        of, policy = iam_policy_pb2, policy_pb2.Policy
        held = of.TestIamPermissionsResponse
        for name, request, response, handle, verb in (
            ("GetIamPolicy", of.GetIamPolicyRequest, policy, get, kind.reading),
            ("SetIamPolicy", of.SetIamPolicyRequest, policy, change, "POST"),
            ("TestIamPermissions", of.TestIamPermissionsRequest, held, self._test, "POST"),
        ):
            rules = tuple(
                HttpRule(verb, f"{path}:{name[0].lower()}{name[1:]}", "*" * (verb == "POST"))
                for path in kind.paths
            )
            yield Rpc(f"{kind.service}/{name}", request, response, handle, rules)

    async def _test(self, request: Any, call: ApiCall) -> Message:
        """Leave out what is missing: https://cloud.google.com/iam/docs/testing-permissions."""
        if len(request.permissions) > _MOST:
            raise InvalidArgument(f"At most {_MOST} permissions can be tested at once.")
        allows = self._guard.allows
        name = request.resource
        resource = name if "/" in name else f"projects/{name}"  # v1 of Resource Manager
        held = [p for p in request.permissions if allows(call.caller, p, resource)]
        answer: Message = iam_policy_pb2.TestIamPermissionsResponse(permissions=held)
        return answer
