"""Whether a caller may do something: its roles, then the boundary of its token."""

from dataclasses import dataclass
from typing import Any

from devenv.gcp.caller import Caller, Guard
from devenv.gcp.errors import CloudError, PermissionDenied, Unauthenticated
from devenv.gcp.storage import boundary


@dataclass(frozen=True, slots=True)
class Access:
    """What one caller may do in the buckets of `project`."""

    guard: Guard
    caller: Caller
    project: str

    def require(self, permission: str, bucket: str = "", name: str = "", prefix: str = "") -> None:
        """Return if allowed, else raise what `denial` returns."""
        try:
            self._decide(permission, bucket, name, prefix)
        except PermissionDenied as error:
            raise self.denial(permission, error.details) from error

    def denial(self, permission: str, details: tuple[Any, ...] = ()) -> CloudError:
        """Return Google's refusal, which does not tell whether the resource is there."""
        who = self.caller.email or "Anonymous caller"
        message = (
            f"{who} does not have {permission} access to the {_kind(permission)}. "
            f"Permission '{permission}' denied on resource (or it may not exist)."
        )
        if self.caller.anonymous:
            return Unauthenticated(message, details)
        return PermissionDenied(message, details)

    def allows(self, permission: str, bucket: str, name: str = "", prefix: str = "") -> bool:
        try:
            self._decide(permission, bucket, name, prefix)
        except PermissionDenied:
            return False
        return True

    def _decide(self, permission: str, bucket: str, name: str, prefix: str) -> None:
        resource = f"projects/_/buckets/{bucket}" if bucket else f"projects/{self.project}"
        self.guard.require(self.caller, permission, resource)
        if self.caller.boundary is not None and not boundary.permits(
            self.caller.boundary,
            permission,
            boundary.Target(bucket, name, prefix),
        ):
            raise PermissionDenied(f"The token's access boundary does not allow {permission}.")


def _kind(permission: str) -> str:
    if permission in ("storage.buckets.create", "storage.buckets.list"):
        return "Google Cloud project"
    if permission == "storage.objects.list" or permission.startswith("storage.buckets."):
        return "Google Cloud Storage bucket"
    return "Google Cloud Storage object"
