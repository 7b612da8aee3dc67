"""Members of an organisation: their roles, and how they leave. One owner always remains.

Each change locks the organisation first, so two owners who leave at the same moment do so one after
the other, and the second is refused.
"""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from validibot.accounts import audit
from validibot.accounts.models import Membership, Organisation, Role, User
from validibot.accounts.scope import Scope


def members_of(organisation: Organisation) -> QuerySet[Membership]:
    """Return the memberships of people; service accounts are listed with their keys."""
    people = organisation.memberships.filter(user__service_of=None)
    return people.select_related("user").order_by("user__email")


def assignable_roles(scope: Scope) -> list[Role]:
    """Return the roles that the scope may give away: only an owner appoints owners."""
    if not scope.can("member.manage"):
        return []
    return [role for role in Role if role != Role.OWNER or scope.can("organisation.manage")]


def check_assignable(scope: Scope, role: str) -> None:
    """Raise ValidationError unless the scope may give away or change a member of this role."""
    if role not in assignable_roles(scope):
        label = Role(role).label if role in Role else role
        message = _("role: your role here does not allow appointing or changing %(role)s.")
        raise ValidationError(message % {"role": label})


@transaction.atomic
def change_role(scope: Scope, membership_id: int, role: str) -> Membership:
    """Give a member another role. Raises Membership.DoesNotExist and ValidationError."""
    organisation = Organisation.locked(scope.organisation.pk)
    membership = members_of(organisation).get(pk=membership_id)
    check_assignable(scope, membership.role)
    check_assignable(scope, role)
    if role != Role.OWNER:
        _check_owner_remains(organisation, membership)
    changes = {"role": (membership.role, role)}
    membership.role = role
    membership.save(update_fields=["role"])
    audit.record(organisation, "member.role_changed", membership.user, changes)
    return membership


@transaction.atomic
def remove(scope: Scope, membership_id: int) -> User:
    """Remove a member. Raises Membership.DoesNotExist and ValidationError."""
    organisation = Organisation.locked(scope.organisation.pk)
    membership = members_of(organisation).get(pk=membership_id)
    check_assignable(scope, membership.role)
    _end(organisation, membership)
    return membership.user


@transaction.atomic
def leave(scope: Scope) -> None:
    """End the membership of the scope's own user. Raises Membership.DoesNotExist, ValidationError."""
    organisation = Organisation.locked(scope.organisation.pk)
    _end(organisation, members_of(organisation).get(user=scope.user))


def _end(organisation: Organisation, membership: Membership) -> None:
    if organisation.personal_owner_id == membership.user_id:
        raise ValidationError(
            _("This is the personal workspace of %(user)s, who cannot leave it.")
            % {"user": membership.user.get_full_name()}
        )
    _check_owner_remains(organisation, membership)
    audit.record(organisation, "member.removed", membership.user, {"role": (membership.role, None)})
    membership.delete()
    # Grants from a time as a guest would still give access.
    organisation.grants.filter(user=membership.user).delete()
    # Notifications hold findings, and a digest would be mailed days later.
    organisation.notification_preferences.filter(user=membership.user).delete()
    organisation.notifications.filter(user=membership.user).delete()


def _check_owner_remains(organisation: Organisation, membership: Membership) -> None:
    """Raise ValidationError if the member is the last owner who can sign in."""
    if membership.role != Role.OWNER:
        return
    owners = members_of(organisation).filter(role=Role.OWNER, user__is_active=True)
    if not owners.exclude(pk=membership.pk).exists():
        raise ValidationError(
            _(
                "%(user)s is the last owner of %(organisation)s. Make another member an owner first,"
                " or delete the organisation."
            )
            % {"user": membership.user.get_full_name(), "organisation": organisation.name}
        )
