"""Rules of account deletion: what happens to the organisations of a user, and who may not go yet.

The account is closed at once: nobody signs in to it, its keys end, and it leaves its organisations.
The rows themselves are deleted by a background task (`validibot.runs.deletion`).
"""

from dataclasses import dataclass, field

from django.db import connection, transaction
from django.utils import timezone

from validibot.accounts.models import ApiKey, Membership, Organisation, Role, User

# Rows of users in tables of apps that the worker has not installed: its ORM cannot cascade to them.
# Rows that refer to others go first.
_SIGN_IN_ROWS = (
    (
        "DELETE FROM account_emailconfirmation WHERE email_address_id IN"
        " (SELECT id FROM account_emailaddress WHERE user_id = %s)"
    ),
    (
        "DELETE FROM socialaccount_socialtoken WHERE account_id IN"
        " (SELECT id FROM socialaccount_socialaccount WHERE user_id = %s)"
    ),
    "DELETE FROM account_emailaddress WHERE user_id = %s",
    "DELETE FROM socialaccount_socialaccount WHERE user_id = %s",
    "DELETE FROM mfa_authenticator WHERE user_id = %s",
    "DELETE FROM usersessions_usersession WHERE user_id = %s",
    "DELETE FROM django_admin_log WHERE user_id = %s",
)


class AccountIsNeeded(Exception):
    """The account cannot be deleted now; the plan names what it is needed for."""


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """Organisations of a user by what a deletion of the account does to them.

    `deleted` have no other member and go with the account, the personal workspace among them. `needed`
    have other members but no other owner. `left` go on without the user. `is_last_operator` is true
    for the only superuser of the site.
    """

    deleted: list[Organisation] = field(default_factory=list)
    needed: list[Organisation] = field(default_factory=list)
    left: list[Organisation] = field(default_factory=list)
    is_last_operator: bool = False

    @property
    def is_possible(self) -> bool:
        return not self.needed and not self.is_last_operator


def plan_deletion(user: User) -> DeletionPlan:
    """Return what happens to the organisations of `user` if the account is deleted."""
    plan = DeletionPlan(is_last_operator=_is_last_operator(user))
    mine = Membership.objects.filter(user=user).select_related("organisation")
    for membership in mine.order_by("organisation__name", "pk"):
        organisation = membership.organisation
        others = organisation.memberships.exclude(user=user).filter(
            user__is_active=True, user__service_of=None
        )
        if organisation.personal_owner_id == user.pk or not others.exists():
            plan.deleted.append(organisation)
        elif membership.role == Role.OWNER and not others.filter(role=Role.OWNER).exists():
            plan.needed.append(organisation)
        else:
            plan.left.append(organisation)
    return plan


@transaction.atomic
def close_account(user: User) -> DeletionPlan:
    """End all access of `user` and leave the organisations that go on.

    Returns the plan that was carried out; the caller deletes the organisations of `deleted` and the
    user. Raises AccountIsNeeded if an organisation or the site would be left without an owner.
    """
    # Every change of members takes this lock, so two last owners cannot leave at once.
    mine = Membership.objects.filter(user=user).order_by("organisation").values("organisation")
    for membership in mine:
        Organisation.locked(membership["organisation"])
    plan = plan_deletion(user)
    if not plan.is_possible:
        raise AccountIsNeeded("The account owns organisations or operates the site.")
    Membership.objects.filter(user=user, organisation__in=plan.left).delete()
    ApiKey.objects.filter(user=user, revoked_at=None).update(revoked_at=timezone.now())
    user.is_active = user.is_staff = user.is_superuser = False
    user.set_unusable_password()
    user.save(update_fields=["is_active", "is_staff", "is_superuser", "password"])
    return plan


@transaction.atomic
def delete_user_rows(user_id: int) -> None:
    """Delete a user with everything that refers to it, in a process with or without sign-in."""
    with connection.cursor() as cursor:
        for statement in _SIGN_IN_ROWS:
            cursor.execute(statement, [user_id])
    User.objects.filter(pk=user_id).delete()


def _is_last_operator(user: User) -> bool:
    others = User.objects.filter(is_superuser=True, is_active=True).exclude(pk=user.pk)
    return user.is_superuser and not others.exists()
