"""Roles and permissions: what a user may do in an organisation.

`PERMISSIONS` is the only table that says what a role may do. A `Scope` is a user in one
organisation with the permissions of the user's role there; API and pages ask it before they act.
"""

from dataclasses import dataclass

from django.db.models import QuerySet

from validibot.accounts.models import Membership, Organisation, Role, User

_VIEWER = frozenset({"workflow.view", "run.view_own"})
_EXECUTOR = _VIEWER | {"run.launch", "run.cancel_own"}
_AUTHOR = _EXECUTOR | {"workflow.edit", "run.view_all"}
_ADMIN = _AUTHOR | {"run.cancel_all", "member.manage", "project.manage"}
_OWNER = _ADMIN | {"organisation.manage"}

PERMISSIONS: dict[str, frozenset[str]] = {
    Role.VIEWER: _VIEWER,
    Role.EXECUTOR: _EXECUTOR,
    Role.AUTHOR: _AUTHOR,
    Role.ADMIN: _ADMIN,
    Role.OWNER: _OWNER,
}


class NotAMember(Exception):
    """The organisation does not exist, or the user is no member: the answer is the same."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A user in an organisation."""

    user: User
    organisation: Organisation
    permissions: frozenset[str]

    def can(self, permission: str) -> bool:
        return permission in self.permissions


def organisations_of(user: User) -> QuerySet[Organisation]:
    """Return the organisations that `user` may see; a superuser is a member of all."""
    if user.is_superuser:
        return Organisation.objects.all()
    return Organisation.objects.filter(memberships__user=user)


def scope_of(user: User, slug: str) -> Scope:
    """Return the scope of `user` in organisation `slug`. Raises NotAMember."""
    membership = (
        Membership.objects.select_related("organisation")
        .filter(user=user, organisation__slug=slug)
        .first()
    )
    if membership:
        return Scope(user, membership.organisation, PERMISSIONS[membership.role])
    organisation = Organisation.objects.filter(slug=slug).first() if user.is_superuser else None
    if organisation is None:
        raise NotAMember(f"You are not a member of an organisation {slug!r}.")
    return Scope(user, organisation, PERMISSIONS[Role.OWNER])
