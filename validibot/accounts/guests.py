"""Guests of an organisation: people who see selected workflows only."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction

from validibot.accounts import audit
from validibot.accounts.models import Organisation, User, WorkflowGrant


@dataclass(frozen=True, slots=True)
class Guest:
    """A guest with the grants in one organisation."""

    user: User
    grants: list[WorkflowGrant]


def guests_of(organisation: Organisation) -> list[Guest]:
    """Return the guests, by email address."""
    grants = organisation.grants.select_related("user").order_by("user__email", "workflow")
    guests: dict[int, Guest] = {}
    for grant in grants:
        guests.setdefault(grant.user_id, Guest(grant.user, [])).grants.append(grant)
    return list(guests.values())


@transaction.atomic
def set_grants(organisation: Organisation, user: User, access: Mapping[str, str]) -> None:
    """Let a guest have these workflows (access by slug) and no others; without any, the guest is gone."""
    Organisation.locked(organisation.pk)
    grants = organisation.grants.filter(user=user)
    had = dict(grants.values_list("workflow", "access"))
    if had != access:
        audit.record(organisation, "guest.changed", user, {"workflows": (had, dict(access))})
    grants.exclude(workflow__in=access).delete()
    if not organisation.memberships.filter(user=user).exists():
        # They hold findings of runs that the guest does not see any more.
        organisation.notifications.filter(user=user).exclude(workflow__in=access).delete()
    for workflow, kind in access.items():
        grants.update_or_create(
            organisation=organisation, user=user, workflow=workflow, defaults={"access": kind}
        )
