"""Access decisions: the caller's roles first, then the boundary of a downscoped token.

A request needs a permission on a bucket or object. The guard decides by the bindings of
`devenv.toml`; `require` raises Google's refusal, which does not reveal whether the resource exists.
A token with a Credential Access Boundary additionally needs one rule of the boundary that makes the
permission available there. A rule's condition is CEL, evaluated by Google's implementation with the
attributes that Cloud Storage documents: `resource.name`, `resource.type`, `resource.service` and
`api.getAttribute(NAME, DEFAULT)`. A condition that does not compile, or does not evaluate to true,
grants nothing.

See https://cloud.google.com/iam/docs/downscoping-short-lived-credentials.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from cel_expr_python import cel

from devenv.gcp.caller import AccessBoundary, ApiCaller, Guard
from devenv.gcp.errors import CloudError, PermissionDenied, Unauthenticated

_SERVICE = "storage.googleapis.com"
_LIST_PREFIX = f"{_SERVICE}/objectListPrefix"
_MAX_CONDITION = 2048  # characters; https://cloud.google.com/iam/docs/conditions-overview


def _each(resource: str, verbs: str) -> frozenset[str]:
    return frozenset(f"storage.{resource}.{verb}" for verb in verbs.split())


_OBJECTS = _each("objects", "get list create delete update")
_UPLOADS = _each("multipartUploads", "create abort listParts")
_ROLES: dict[str, frozenset[str]] = {
    "roles/storage.objectViewer": _each("objects", "get list"),
    "roles/storage.objectCreator": _each("objects", "create") | _UPLOADS,
    "roles/storage.objectUser": _OBJECTS | _UPLOADS | _each("multipartUploads", "list"),
    "roles/storage.objectAdmin": _OBJECTS | _UPLOADS | _each("multipartUploads", "list"),
    "roles/storage.legacyObjectReader": _each("objects", "get"),
    "roles/storage.legacyObjectOwner": _each("objects", "get update"),
    "roles/storage.legacyBucketReader": _each("objects", "list") | _each("buckets", "get"),
    "roles/storage.legacyBucketWriter": _each("objects", "create delete list")
    | _each("buckets", "get"),
    "roles/storage.admin": _OBJECTS
    | _UPLOADS
    | _each("multipartUploads", "list")
    | _each("buckets", "get list create delete update"),
}


@dataclass(frozen=True, slots=True)
class StorageTarget:
    """The resource of a request; `prefix` is the one that a listing asks for."""

    bucket: str
    name: str = ""
    prefix: str = ""

    @property
    def bucket_name(self) -> str:
        return f"projects/_/buckets/{self.bucket}"

    @property
    def full_name(self) -> str:
        return f"{self.bucket_name}/objects/{self.name}" if self.name else self.bucket_name


@dataclass(frozen=True, slots=True)
class Access:
    """The rights of one caller in the buckets of `project`.

    `private` tells of a bucket whether its public access prevention is enforced.
    """

    guard: Guard
    caller: ApiCaller
    project: str
    private: Callable[[str], bool] = lambda _: False

    def require(self, permission: str, bucket: str = "", name: str = "", prefix: str = "") -> None:
        """Return if the caller has the permission, else raise what `denial` returns."""
        try:
            self._decide(permission, StorageTarget(bucket, name, prefix))
        except PermissionDenied as error:
            raise self.denial(permission, error.details) from error

    def denial(self, permission: str, details: tuple[Any, ...] = ()) -> CloudError:
        """Return Google's refusal: 401 for an anonymous caller, else 403."""
        caller = self.caller.email or "Anonymous caller"
        message = (
            f"{caller} does not have {permission} access to the {_kind(permission)}. "
            f"Permission '{permission}' denied on resource (or it may not exist)."
        )
        if self.caller.anonymous:
            return Unauthenticated(message, details)
        return PermissionDenied(message, details)

    def allows(self, permission: str, bucket: str, name: str = "", prefix: str = "") -> bool:
        """Return whether the caller has the permission."""
        try:
            self._decide(permission, StorageTarget(bucket, name, prefix))
        except PermissionDenied:
            return False
        return True

    def _decide(self, permission: str, target: StorageTarget) -> None:
        bucket, boundary = target.bucket, self.caller.boundary
        self.guard.require(
            self.caller, permission, target.bucket_name if bucket else f"projects/{self.project}"
        )
        if boundary is not None and not permits(boundary, permission, target):
            raise PermissionDenied(f"The token's access boundary does not allow {permission}.")
        if bucket and self.caller.anonymous and self.private(bucket):
            raise PermissionDenied("The bucket enforces public access prevention.")


def permits(boundary: AccessBoundary, permission: str, target: StorageTarget) -> bool:
    """Return whether one rule of `boundary` makes `permission` available on `target`."""
    return any(
        resource.removeprefix(f"//{_SERVICE}/") == target.bucket_name
        and any(permission in _ROLES.get(role.removeprefix("inRole:"), ()) for role in roles)
        and (not condition or condition_holds(condition, permission, target))
        for resource, roles, condition in boundary.rules
    )


def condition_holds(condition: str, permission: str, target: StorageTarget) -> bool:
    """Return whether `condition` evaluates to true for a request that needs `permission`."""
    expression = _compiled(condition)
    if expression is None:
        return False
    resource = {
        "name": target.full_name,
        "type": f"{_SERVICE}/{'Object' if target.name else 'Bucket'}",
        "service": _SERVICE,
    }
    api = {_LIST_PREFIX: target.prefix} if permission == "storage.objects.list" else {}
    try:
        result = expression.eval(_environment().Activation({"resource": resource, "api": api}))
    except RuntimeError:  # a budget of the evaluator is used up
        return False
    return result.type() == cel.Type.BOOL and result.value() is True


@lru_cache(maxsize=1024)
def _compiled(condition: str) -> cel.Expression | None:
    if len(condition) > _MAX_CONDITION or "\0" in condition:
        return None
    try:
        expression = _environment().compile(condition)
    except RuntimeError:
        return None
    return expression if expression.return_type() == cel.Type.BOOL else None


@cache
def _environment() -> cel.Env:
    text = cel.Type.STRING
    attributes = cel.Type.Map(text, text)
    get_attribute = cel.Overload(
        id="api_get_attribute",
        return_type=text,
        parameters=[attributes, text, text],
        is_member=True,
        impl=lambda api, name, default: api.get(name, default),
    )
    return cel.NewEnv(
        variables={"resource": attributes, "api": attributes},
        functions=[cel.FunctionDecl("getAttribute", [get_attribute])],
    )


def _kind(permission: str) -> str:
    if permission in ("storage.buckets.create", "storage.buckets.list"):
        return "Google Cloud project"
    if permission == "storage.objects.list" or permission.startswith("storage.buckets."):
        return "Google Cloud Storage bucket"
    return "Google Cloud Storage object"
