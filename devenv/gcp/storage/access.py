"""Access decisions: lists and roles of the caller first, then the boundary of a downscoped token.

A request needs a permission on a bucket or object. Where uniform access is off, an access control
list may allow it; else the guard decides by the bindings of `devenv.toml`. `require` raises Google's
refusal, which does not reveal whether the resource exists. A token with a Credential Access Boundary
additionally needs one rule of the boundary that makes the permission available there. A rule's
condition sees the object, and the prefix of a listing.

See https://cloud.google.com/iam/docs/downscoping-short-lived-credentials.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from devenv.gcp.caller import AccessBoundary, ApiCaller, Guard
from devenv.gcp.errors import CloudError, PermissionDenied
from devenv.gcp.iam.conditions import condition_holds
from devenv.gcp.iam.roles import ROLES
from devenv.gcp.journal import note_decision
from devenv.gcp.storage.errors import AnonymousRefused, PermissionRefused

_SERVICE = "storage.googleapis.com"
_LIST_PREFIX = f"{_SERVICE}/objectListPrefix"


@dataclass(slots=True)  # not frozen, because one is made for each call
class StorageTarget:
    """The resource of a request; `prefix` is the one that a listing asks for.

    Of an object it is the generation that the request names, else the live one.
    """

    bucket: str
    name: str = ""
    prefix: str = ""
    generation: int | None = None

    @property
    def bucket_name(self) -> str:
        return f"projects/_/buckets/{self.bucket}"

    @property
    def full_name(self) -> str:
        return f"{self.bucket_name}/objects/{self.name}" if self.name else self.bucket_name


@dataclass(slots=True)  # not frozen, because one is made for each call
class Access:
    """The rights of one caller in the buckets of `project`.

    `private` tells of a bucket whether its public access prevention is enforced, `listed` whether
    an access control list of a bucket or object allows a caller a permission.
    """

    guard: Guard
    caller: ApiCaller
    project: str
    private: Callable[[str], bool] = lambda _: False
    listed: Callable[[ApiCaller, str, StorageTarget], bool] = lambda *_: False

    def require(
        self,
        permission: str,
        bucket: str = "",
        name: str = "",
        prefix: str = "",
        generation: int | None = None,
    ) -> None:
        """Return if the caller has the permission, else raise what `denial` returns."""
        try:
            self._decide(permission, StorageTarget(bucket, name, prefix, generation))
        except PermissionDenied as error:
            raise self.denial(permission, error.details) from error

    def denial(self, permission: str, details: tuple[Any, ...] = ()) -> CloudError:
        """Return Google's refusal: 401 for an anonymous caller (403 in the XML API), else 403."""
        caller = self.caller.email or "Anonymous caller"
        message = (
            f"{caller} does not have {permission} access to the {_kind(permission)}. "
            f"Permission '{permission}' denied on resource (or it may not exist)."
        )
        if self.caller.anonymous:
            return AnonymousRefused(message, details)
        return PermissionRefused(message, details)

    def allows(self, permission: str, bucket: str, name: str = "", prefix: str = "") -> bool:
        """Return whether the caller has the permission."""
        try:
            self._decide(permission, StorageTarget(bucket, name, prefix))
        except PermissionDenied:
            return False
        return True

    def _decide(self, permission: str, target: StorageTarget) -> None:
        bucket, boundary = target.bucket, self.caller.boundary
        resource = target.full_name if bucket else f"projects/{self.project}"
        if bucket and self.listed(self.caller, permission, target):
            note_decision(permission, resource, allowed=True)
        else:
            self.guard.require(self.caller, permission, resource)
        if boundary is not None and not permits(boundary, permission, target):
            raise PermissionDenied(f"The token's access boundary does not allow {permission}.")
        if bucket and self.caller.anonymous and self.private(bucket):
            raise PermissionDenied("The bucket enforces public access prevention.")


def permits(boundary: AccessBoundary, permission: str, target: StorageTarget) -> bool:
    """Return whether one rule of `boundary` makes `permission` available on `target`."""
    return any(
        resource.removeprefix(f"//{_SERVICE}/") == target.bucket_name
        and any(permission in _permissions(role.removeprefix("inRole:")) for role in roles)
        and (not condition or _holds(condition, permission, target))
        for resource, roles, condition in boundary.rules
    )


def _permissions(role: str) -> frozenset[str]:
    """Return the permissions of a role in a boundary, which is one of Cloud Storage."""
    return ROLES.get(role, frozenset()) if role.startswith("roles/storage.") else frozenset()


def _holds(condition: str, permission: str, target: StorageTarget) -> bool:
    api = {_LIST_PREFIX: target.prefix} if permission == "storage.objects.list" else {}
    return condition_holds(condition, target.full_name, api=api)


def _kind(permission: str) -> str:
    if permission in ("storage.buckets.create", "storage.buckets.list"):
        return "Google Cloud project"
    if permission == "storage.objects.list" or permission.startswith("storage.buckets."):
        return "Google Cloud Storage bucket"
    return "Google Cloud Storage object"
