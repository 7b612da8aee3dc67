"""A user in an organisation, and what the user may do there."""

from dataclasses import dataclass

from validibot.accounts.models import Membership, Organisation, Role, User
from validibot.accounts.permissions import PERMISSIONS


class NotAMember(Exception):
    """No such organisation, or not for this user: a stranger cannot tell which."""


@dataclass(frozen=True, slots=True)
class Scope:
    """A user in an organisation."""

    user: User
    organisation: Organisation
    permissions: frozenset[str]

    def can(self, permission: str) -> bool:
        return permission in self.permissions


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
        raise NotAMember(f"There is no organisation {slug!r} that you are a member of.")
    return Scope(user, organisation, PERMISSIONS[Role.OWNER])
