"""Roles by API: the predefined ones to read, and the project's own to create and change.

Those of devenv.toml exist at the start, with the permissions that they have there.

After https://cloud.google.com/iam/docs/creating-custom-roles. A custom role grants nothing while
it is deleted or its stage is DISABLED, and what it has at the moment of a decision otherwise. A
deleted role is gone for good after seven days; until then its id cannot be used again.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol, TypeAlias

from devenv.gcp.caller import ApiCall, ApiCaller
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    wrong_project,
)
from devenv.gcp.iam.roles import PERMISSIONS, ROLES
from devenv.gcp.messages import every, masked, page, refuse_unemulated
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.store import Store
from devenv.gcp.tables import ConfigError

admin = client_types("google.cloud.iam_admin_v1")

Role: Any = admin.Role.pb()

_DISABLED = int(admin.Role.RoleLaunchStage.DISABLED)
_FULL = int(admin.RoleView.FULL)
_ROLE_ID = re.compile(r"[a-zA-Z0-9_.]{3,64}")
_PERMISSION = re.compile(r"[a-zA-Z0-9]+\.[a-zA-Z0-9]+\.[a-zA-Z0-9]+")
# The services whose permissions we know; those of others, and of which few
# methods are emulated, are kept and checked by nobody.
_PARTLY = {"billing", "compute", "servicenetworking"}
_EMULATED = {permission.partition(".")[0] for permission in PERMISSIONS} - _PARTLY
_FIELDS = every("name", "title", "description", "included_permissions", "stage", "etag", "deleted")
_MOST_ROLES, _MOST_PERMISSIONS = 300, 3000  # https://cloud.google.com/iam/quotas
_LONGEST_TITLE, _LONGEST_DESCRIPTION = 100, 300
_LARGEST_PAGE = 1000
_KEPT = 7 * 86400  # seconds of a deleted role
_PROJECT_ROLE = "/v1/{name=projects/*/roles/*}"
_PROJECT_ROLES = "/v1/{parent=projects/*}/roles"

Handler: TypeAlias = Callable[[Any, ApiCall], Awaitable[Any]]


class Roles:
    """The permissions of every role; custom roles are in the store, under `projects/P/roles/ID`."""

    def __init__(self, config: CloudConfig, store: Store) -> None:
        self.prefix = f"projects/{config.project}/roles/"
        self.changes = 0  # since the start
        self._table = store.table("iam_roles")
        self._deleted_at = store.table("iam_deleted_roles")
        self._custom = {name: Role.FromString(value) for name, value in self._table.scan()}
        self._held = {name: _held(role) for name, role in self._custom.items()}
        for role_id, permissions in config.roles.items():
            self._declare(role_id, permissions)

    def knows(self, name: str) -> bool:
        """Return whether a policy may name this role."""
        role = self._custom.get(name)
        return name in ROLES or (role is not None and not role.deleted)

    def permissions(self, name: str) -> frozenset[str]:
        """Return what a role allows; one that we do not know allows nothing."""
        return ROLES.get(name) or self._held.get(name, frozenset())

    def get(self, name: str) -> Any | None:
        """Return a copy of a custom role, deleted or not; None if there is none."""
        if name not in self._custom:
            return None
        role = Role()
        role.CopyFrom(self._custom[name])
        return role

    def custom(self) -> tuple[Any, ...]:
        """Return all custom roles, deleted ones too."""
        return tuple(self._custom.values())

    def put(self, role: Any, *, deleted_at: float | None = None) -> Any:
        """Store a role under a new etag, and return it."""
        role.etag = secrets.token_bytes(9)
        self._table.put(role.name, role.SerializeToString())
        if deleted_at is not None:
            self._deleted_at.put(role.name, str(deleted_at).encode())
        else:
            self._deleted_at.delete(role.name)
        self._custom[role.name], self._held[role.name] = role, _held(role)
        self.changes += 1
        return role

    def _declare(self, role_id: str, permissions: tuple[str, ...]) -> None:
        """Give a role of devenv.toml the permissions that it has there, whatever a call made of it."""
        if not _ROLE_ID.fullmatch(role_id):
            raise ConfigError(
                f"gcp.roles: the id {role_id[:100]!r} must have 3 to 64 letters, digits, dots or _."
            )
        try:
            wanted = _checked(Role(title=role_id, included_permissions=permissions))
        except InvalidArgument as error:
            raise ConfigError(f"gcp.roles.{role_id}: {error}") from None
        wanted.name = f"{self.prefix}{role_id}"
        if self._held.get(wanted.name) != _held(wanted):
            self.put(wanted)

    def forget_old(self, before: float) -> None:
        """Remove the roles that were deleted before this moment, in Unix seconds."""
        for name, moment in list(self._deleted_at.scan()):
            if float(moment) < before:
                self._table.delete(name)
                self._deleted_at.delete(name)
                del self._custom[name], self._held[name]
                self.changes += 1


def _held(role: Any) -> frozenset[str]:
    is_off = role.deleted or role.stage == _DISABLED
    return frozenset() if is_off else frozenset(role.included_permissions)


class RoleGuard(Protocol):
    """Decides whether a caller may do something."""

    def require(self, caller: ApiCaller, permission: str, resource: str) -> None: ...


class RolesApi:
    """The role methods of google.iam.admin.v1.IAM for one project."""

    def __init__(self, config: CloudConfig, roles: Roles, guard: RoleGuard, clock: Clock) -> None:
        self._config = config
        self._roles = roles
        self._guard = guard
        self._clock = clock

    def rpcs(self) -> Iterator[Rpc]:
        lists = admin.ListRolesResponse.pb()
        everywhere = (HttpRule("GET", "/v1/roles"), HttpRule("GET", _PROJECT_ROLES))
        one = (HttpRule("GET", "/v1/{name=roles/*}"), HttpRule("GET", _PROJECT_ROLE))
        methods: tuple[tuple[str, Any, Handler, tuple[HttpRule, ...]], ...] = (
            ("ListRoles", lists, self.list, everywhere),
            ("GetRole", Role, self.get, one),
            ("CreateRole", Role, self.create, (HttpRule("POST", _PROJECT_ROLES, "*"),)),
            ("UpdateRole", Role, self.update, (HttpRule("PATCH", _PROJECT_ROLE, "role"),)),
            ("DeleteRole", Role, self.delete, (HttpRule("DELETE", _PROJECT_ROLE),)),
            (
                "UndeleteRole",
                Role,
                self.undelete,
                (HttpRule("POST", f"{_PROJECT_ROLE}:undelete", "*"),),
            ),
        )
        permissions = admin.QueryTestablePermissionsResponse.pb()
        query = HttpRule("POST", "/v1/permissions:queryTestablePermissions", "*")
        methods += (("QueryTestablePermissions", permissions, self.testable, (query,)),)
        for name, response, handle, rules in methods:
            request = getattr(admin, f"{name}Request").pb()
            yield Rpc(f"google.iam.admin.v1.IAM/{name}", request, response, handle, rules)

    async def list(self, request: Any, call: ApiCall) -> Any:
        """List predefined roles, which anybody may read, or the project's own."""
        if request.parent:
            self._allow(call, "list", request.parent)
            self._roles.forget_old(self._clock.now() - _KEPT)
            found = {role.name: role for role in self._roles.custom()}
        else:
            found = {name: _predefined(name) for name in ROLES}
        kept = {name: r for name, r in found.items() if request.show_deleted or not r.deleted}
        names, token = page(
            kept, size=request.page_size, token=request.page_token, most=_LARGEST_PAGE
        )
        answer = admin.ListRolesResponse.pb()(next_page_token=token)
        for name in names:
            role = answer.roles.add()
            role.CopyFrom(kept[name])
            if request.view != _FULL:
                role.ClearField("included_permissions")
        return answer

    async def testable(self, request: Any, call: ApiCall) -> Any:
        """Return the permissions that a custom role can have; anybody may ask."""
        names, token = page(
            PERMISSIONS, size=request.page_size, token=request.page_token, most=_LARGEST_PAGE
        )
        answer = admin.QueryTestablePermissionsResponse.pb()(next_page_token=token)
        for name in names:
            answer.permissions.add(name=name, stage=admin.Permission.PermissionLaunchStage.GA)
        return answer

    async def get(self, request: Any, call: ApiCall) -> Any:
        if request.name in ROLES:
            return _predefined(request.name)
        if request.name.startswith("roles/"):
            raise NotFound(f"The role named {request.name[:200]} was not found.")
        return self._find(request.name, call, "get")

    async def create(self, request: Any, call: ApiCall) -> Any:
        self._allow(call, "create", request.parent)
        self._roles.forget_old(self._clock.now() - _KEPT)
        if not _ROLE_ID.fullmatch(request.role_id):
            raise InvalidArgument(
                f"The role ID {request.role_id[:100]!r} must have 3 to 64 letters, digits, "
                "underscores and periods."
            )
        name = self._roles.prefix + request.role_id
        if self._roles.get(name) is not None:
            raise AlreadyExists(
                f"A role named {request.role_id} in projects/{self._config.project} already exists."
            )
        if len(self._roles.custom()) >= _MOST_ROLES:
            raise ResourceExhausted(f"A project has at most {_MOST_ROLES} custom roles.")
        role = _checked(request.role)
        role.name = name
        return self._roles.put(role)

    async def update(self, request: Any, call: ApiCall) -> Any:
        role = self._changeable(request.name, call, "update", request.role.etag)
        wanted = masked(role, _checked(request.role), request.update_mask)
        wanted.name, wanted.deleted = role.name, False
        return self._roles.put(wanted)

    async def delete(self, request: Any, call: ApiCall) -> Any:
        role = self._changeable(request.name, call, "delete", request.etag)
        role.deleted = True
        return self._roles.put(role, deleted_at=self._clock.now())

    async def undelete(self, request: Any, call: ApiCall) -> Any:
        role = self._find(request.name, call, "undelete")
        _check_etag(role, request.etag)
        if not role.deleted:
            raise FailedPrecondition(f"The role {role.name} is not deleted.")
        role.deleted = False
        return self._roles.put(role)

    def _changeable(self, name: str, call: ApiCall, verb: str, etag: bytes) -> Any:
        role = self._find(name, call, verb)
        _check_etag(role, etag)
        if role.deleted:
            raise FailedPrecondition(f"The role {role.name} is deleted; undelete it first.")
        return role

    def _find(self, name: str, call: ApiCall, verb: str) -> Any:
        place, _, role_id = name.partition("/roles/")
        self._allow(call, verb, place)
        self._roles.forget_old(self._clock.now() - _KEPT)
        role = self._roles.get(self._roles.prefix + role_id)
        if role is None:
            raise NotFound(f"The role named {name[:200]} was not found.")
        return role

    def _allow(self, call: ApiCall, verb: str, place: str) -> None:
        name = place.removeprefix("projects/")
        if name not in (self._config.project, self._config.number):
            raise wrong_project(name[:100], "iam.googleapis.com")
        self._guard.require(call.caller, f"iam.roles.{verb}", f"projects/{self._config.project}")


def _predefined(name: str) -> Any:
    title = name.removeprefix("roles/")
    return Role(name=name, title=title, included_permissions=sorted(ROLES[name]), stage=2)


def _check_etag(role: Any, etag: bytes) -> None:
    if etag and etag != role.etag:
        raise Aborted(
            "There were concurrent role changes. Please retry the whole read-modify-write with "
            "exponential backoff."
        )


def _checked(given: Any) -> Any:
    """Return a copy of a role that a caller sent. Raises InvalidArgument."""
    refuse_unemulated(given, _FIELDS, where="role")
    role = Role()
    role.CopyFrom(given)
    for field, most in (("title", _LONGEST_TITLE), ("description", _LONGEST_DESCRIPTION)):
        if len(getattr(role, field)) > most:
            raise InvalidArgument(f"role.{field} is longer than {most} characters.")
    wanted = sorted(set(role.included_permissions))
    if len(wanted) > _MOST_PERMISSIONS:
        raise InvalidArgument(f"A role has at most {_MOST_PERMISSIONS} permissions.")
    for permission in wanted:
        known = permission in PERMISSIONS or permission.partition(".")[0] not in _EMULATED
        if not _PERMISSION.fullmatch(permission) or not known:
            raise InvalidArgument(f"Permission {permission[:200]} is not valid, or not emulated.")
    role.included_permissions[:] = wanted
    return role
