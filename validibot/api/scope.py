"""The organisation of a request, and what its user may do there."""

from dataclasses import dataclass

from django.http import Http404
from rest_framework.request import Request

from validibot.accounts.models import Membership, Organisation, Role, User
from validibot.accounts.permissions import PERMISSIONS
from validibot.core.problems import Problem


@dataclass(frozen=True, slots=True)
class Scope:
    """A user in an organisation."""

    user: User
    organisation: Organisation
    permissions: frozenset[str]

    def require(self, permission: str, sentence: str) -> None:
        """Raise 403 with `sentence` unless the user has `permission`."""
        if permission not in self.permissions:
            raise Problem(403, "PERMISSION_DENIED", sentence)


def scope_of(request: Request, slug: str) -> Scope:
    """Return the scope of `request` in organisation `slug`; a stranger gets 404, not 403."""
    user = request.user
    if not isinstance(user, User):
        raise Http404
    membership = (
        Membership.objects.select_related("organisation")
        .filter(user=user, organisation__slug=slug)
        .first()
    )
    if membership:
        return Scope(user, membership.organisation, PERMISSIONS[membership.role])
    organisation = Organisation.objects.filter(slug=slug).first() if user.is_superuser else None
    if organisation is None:
        raise Problem(
            404, "NOT_FOUND", f"There is no organisation {slug!r} that you are a member of."
        )
    return Scope(user, organisation, PERMISSIONS[Role.OWNER])
