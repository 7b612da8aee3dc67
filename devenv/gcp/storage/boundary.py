"""Credential Access Boundaries: what is left of a caller's rights with a downscoped token.

After https://cloud.google.com/iam/docs/downscoping-short-lived-credentials.
"""

from dataclasses import dataclass

from devenv.gcp.caller import AccessBoundary
from devenv.gcp.storage import expression

_OBJECTS = frozenset(
    f"storage.objects.{verb}" for verb in ("get", "list", "create", "delete", "update")
)
_ROLES: dict[str, frozenset[str]] = {
    "roles/storage.objectViewer": frozenset({"storage.objects.get", "storage.objects.list"}),
    "roles/storage.objectCreator": frozenset({"storage.objects.create"}),
    "roles/storage.objectUser": _OBJECTS,
    "roles/storage.objectAdmin": _OBJECTS,
    "roles/storage.legacyObjectReader": frozenset({"storage.objects.get"}),
    "roles/storage.legacyObjectOwner": frozenset({"storage.objects.get", "storage.objects.update"}),
    "roles/storage.legacyBucketReader": frozenset({"storage.objects.list", "storage.buckets.get"}),
    "roles/storage.legacyBucketWriter": frozenset(
        {
            "storage.objects.create",
            "storage.objects.delete",
            "storage.objects.list",
            "storage.buckets.get",
        }
    ),
    "roles/storage.admin": _OBJECTS
    | {f"storage.buckets.{verb}" for verb in ("get", "list", "create", "delete", "update")},
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about; `prefix` is the one that a listing asks for."""

    bucket: str
    name: str = ""
    prefix: str = ""

    @property
    def bucket_name(self) -> str:
        return f"projects/_/buckets/{self.bucket}"

    @property
    def full_name(self) -> str:
        return f"{self.bucket_name}/objects/{self.name}" if self.name else self.bucket_name


def permits(boundary: AccessBoundary, permission: str, target: Target) -> bool:
    """Return whether one rule of `boundary` makes `permission` available on `target`."""
    return any(
        resource.removeprefix("//storage.googleapis.com/") == target.bucket_name
        and any(permission in _permissions(role) for role in roles)
        and (not condition or expression.holds(condition, _attributes(permission, target)))
        for resource, roles, condition in boundary.rules
    )


def _permissions(role: str) -> frozenset[str]:
    return _ROLES.get(role.removeprefix("inRole:"), frozenset())


def _attributes(permission: str, target: Target) -> expression.Attributes:
    kind = "Object" if target.name else "Bucket"
    api: dict[str, str] = {}
    if permission == "storage.objects.list":
        api["storage.googleapis.com/objectListPrefix"] = target.prefix
    return expression.Attributes(
        resource={
            "name": target.full_name,
            "type": f"storage.googleapis.com/{kind}",
            "service": "storage.googleapis.com",
        },
        api=api,
    )
