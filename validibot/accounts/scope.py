"""Roles and permissions: what a user may do in an organisation.

`PERMISSIONS` is the only table that says what a role may do; the page and the document about roles are
made from it. A `Scope` is a user in one organisation with the permissions of the user's role there;
API and pages ask it before they act. A guest is no member: a guest's scope holds the workflows that
were granted one by one. An API key narrows the scope of its user to what its own scopes allow.
"""

from dataclasses import dataclass, replace
from typing import Self

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext_lazy as _

from validibot.accounts.models import (
    ApiKey,
    GrantAccess,
    KeyScope,
    Membership,
    Organisation,
    Role,
    User,
    WorkflowGrant,
)
from validibot.accounts.regions import served_here
from validibot.core.echo import echo

_VIEWER = frozenset({"workflow.view", "run.view_own", "member.view"})
_RESULTS_VIEWER = _VIEWER | {"run.view_all"}
_ANALYTICS_VIEWER = _VIEWER | {"analytics.view"}
_EXECUTOR = _VIEWER | {"run.launch", "run.cancel_own"}
_AUTHOR = _EXECUTOR | {"workflow.edit", "run.view_all", "analytics.view"}
_ADMIN = _AUTHOR | {
    "run.cancel_all",
    "member.manage",
    "project.manage",
    "key.manage",
    "webhook.manage",
    "audit.view",
    "validator.manage",
    "ai.manage",
}
_OWNER = _ADMIN | {"organisation.manage"}

PERMISSIONS: dict[str, frozenset[str]] = {
    Role.OWNER: _OWNER,
    Role.ADMIN: _ADMIN,
    Role.AUTHOR: _AUTHOR,
    Role.EXECUTOR: _EXECUTOR,
    Role.RESULTS_VIEWER: _RESULTS_VIEWER,
    Role.ANALYTICS_VIEWER: _ANALYTICS_VIEWER,
    Role.VIEWER: _VIEWER,
}
# Launches are granted per workflow, see `Scope.can_launch`.
GUEST_PERMISSIONS = frozenset({"workflow.view", "run.view_own", "run.cancel_own"})
PERMISSION_TEXTS = {
    "workflow.view": _("See workflows"),
    "run.launch": _("Start runs"),
    "run.view_own": _("See their own runs"),
    "run.view_all": _("See all runs and their results"),
    "run.cancel_own": _("Cancel their own runs"),
    "run.cancel_all": _("Cancel all runs"),
    "analytics.view": _("See analytics, and what credits were used for"),
    "workflow.edit": _("Create and edit workflows"),
    "member.view": _("See the members"),
    "member.manage": _("Invite, change and remove members and guests"),
    "project.manage": _("Create, edit and delete projects"),
    "key.manage": _("Create, rotate and revoke service keys"),
    "webhook.manage": _("Create, change and delete webhooks"),
    "audit.view": _("See and export the audit log"),
    "validator.manage": _("Register and archive validators"),
    "ai.manage": _("Set the endpoint of AI reviews"),
    "organisation.manage": _("Rename and delete the organisation, and appoint owners"),
}
KEY_PERMISSIONS: dict[str, frozenset[str]] = {
    KeyScope.READ: frozenset(
        {"workflow.view", "run.view_own", "run.view_all", "analytics.view", "member.view"}
    ),
    KeyScope.LAUNCH: frozenset({"workflow.view", "run.view_own", "run.launch", "run.cancel_own"}),
    KeyScope.MANAGE: frozenset(
        {
            *("workflow.view", "member.view", "workflow.edit", "run.cancel_all", "member.manage"),
            *("project.manage", "key.manage", "webhook.manage", "validator.manage"),
            *("ai.manage", "organisation.manage", "audit.view"),
        }
    ),
}


class NotAMember(Exception):
    """The organisation does not exist, or the user is no member: the answer is the same."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A user in an organisation, as a member (`role`) or as a guest.

    `workflows` are the slugs that a guest may see, None for a member; `launchable` are those among
    them that the guest may launch. `key` is the API key that made the request.
    """

    user: User
    organisation: Organisation
    permissions: frozenset[str]
    role: str = ""
    workflows: frozenset[str] | None = None
    launchable: frozenset[str] = frozenset()
    key: ApiKey | None = None

    @classmethod
    def of_member(cls, user: User, organisation: Organisation, role: str) -> Self:
        return cls(user, organisation, PERMISSIONS[role], role)

    @classmethod
    def of_guest(cls, user: User, organisation: Organisation) -> Self | None:
        """Return the scope of a guest, or None if nothing is granted to the user."""
        grants = WorkflowGrant.objects.filter(user=user, organisation=organisation)
        access = dict(grants.values_list("workflow", "access"))
        if not access:
            return None
        launchable = (slug for slug, kind in access.items() if kind == GrantAccess.LAUNCH)
        return cls(
            user,
            organisation,
            GUEST_PERMISSIONS,
            workflows=frozenset(access),
            launchable=frozenset(launchable),
        )

    def can(self, permission: str) -> bool:
        """Return whether the whole organisation may be acted on so; for a launch ask `can_launch`."""
        return permission in self.permissions

    def can_see(self, workflow: str) -> bool:
        """Return whether the workflow with this slug may be seen."""
        return self.can("workflow.view") and (self.workflows is None or workflow in self.workflows)

    def can_launch(self, workflow: str) -> bool:
        """Return whether the workflow with this slug may be launched."""
        return self.can("run.launch") or workflow in self.launchable

    def can_see_run(self, *, user_id: int | None, workflow: str) -> bool:
        """Return whether a run may be seen that `user_id` started of the workflow with this slug."""
        is_own = user_id == self.user.pk and self.can("run.view_own")
        return self.can("run.view_all") or (is_own and self.can_see(workflow))

    @property
    def key_scopes(self) -> frozenset[str] | None:
        """The scopes of the API key that made the request, None for a session."""
        return None if self.key is None else frozenset(self.key.scopes.split())

    def limited_to(self, key: ApiKey) -> Self:
        """Return this scope with only what an API key may do."""
        key_scopes = key.scopes.split()
        allowed = frozenset().union(*(KEY_PERMISSIONS[each] for each in key_scopes))
        return replace(
            self,
            permissions=self.permissions & allowed,
            launchable=self.launchable if KeyScope.LAUNCH in key_scopes else frozenset(),
            key=key,
        )

    def refusal(self, permission: str) -> str:
        """Return why `permission` is missing: because of the role, or of the API key."""
        wanted = [name for name, allowed in KEY_PERMISSIONS.items() if permission in allowed]
        if self.key_scopes is not None and not self.key_scopes.intersection(wanted):
            has = ", ".join(sorted(self.key_scopes)) or "none"
            return (
                f"This API key needs the scope {' or '.join(sorted(wanted))}; its scopes: {has}."
                " Create a key with that scope."
            )
        role = Role(self.role).label if self.role else "guest"
        return f"Your role here ({role}) does not include {permission}. Ask an owner or admin."


def organisations_of(user: User) -> QuerySet[Organisation]:
    """Return the organisations of `user`, as member or guest; a superuser is a member of all.

    Those that are being deleted are left out; their pages can be seen until they are gone.
    """
    lasting = Organisation.objects.filter(served_here(), deletion_requested_at=None)
    return lasting if user.is_superuser else lasting.filter(is_open_to(user))


def is_open_to(user: User) -> Exists:
    """Return the condition that `user` is a member or a guest of an organisation."""
    own = {"organisation": OuterRef("pk"), "user": user}
    return Exists(Membership.objects.filter(**own)) | Exists(WorkflowGrant.objects.filter(**own))  # type: ignore[return-value]


def scope_of(user: User, slug: str) -> Scope:
    """Return the scope of `user` in organisation `slug`. Raises NotAMember."""
    membership = (
        Membership.objects.select_related("organisation")
        .filter(user=user, organisation__slug=slug)
        .first()
    )
    if membership:
        return Scope.of_member(user, membership.organisation, membership.role)
    organisation = Organisation.objects.filter(slug=slug).first()
    if organisation and (scope := scope_without_membership(user, organisation)):
        return scope
    raise NotAMember(f"You are not a member of an organisation {echo(slug)}.")


def scope_without_membership(user: User, organisation: Organisation) -> Scope | None:
    """Return the scope of a superuser or a guest, who are no members, or None."""
    if user.is_superuser:
        return Scope.of_member(user, organisation, Role.OWNER)
    return Scope.of_guest(user, organisation)
