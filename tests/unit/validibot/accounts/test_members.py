"""Roles of members, and the owner who always remains."""

from collections.abc import Callable
from threading import Barrier, Thread

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from tests.factories import MembershipFactory, OrganisationFactory
from validibot.accounts import members
from validibot.accounts.models import Membership, Organisation, Role, WorkflowGrant
from validibot.accounts.scope import Scope, scope_of


def _scope(membership: Membership) -> Scope:
    return scope_of(membership.user, membership.organisation.slug)


@pytest.fixture
def acme(db: None) -> Organisation:
    organisation: Organisation = OrganisationFactory.create()
    return organisation


@pytest.fixture
def owner(acme: Organisation) -> Membership:
    """The only owner."""
    membership: Membership = MembershipFactory.create(organisation=acme)
    return membership


@pytest.mark.parametrize(
    "end",
    [
        lambda scope, pk: members.leave(scope),
        members.remove,
        lambda scope, pk: members.change_role(scope, pk, Role.ADMIN),
    ],
    ids=["leave", "remove", "demote"],
)
def test_last_owner_cannot_go(
    acme: Organisation, owner: Membership, end: Callable[[Scope, int], object]
) -> None:
    MembershipFactory.create(organisation=acme, role=Role.ADMIN)
    MembershipFactory.create(organisation=acme, role=Role.OWNER, user__is_active=False)

    with pytest.raises(ValidationError, match="last owner"):
        end(_scope(owner), owner.pk)

    owner.refresh_from_db()
    assert owner.role == Role.OWNER


def test_owner_can_go_when_another_remains(acme: Organisation, owner: Membership) -> None:
    MembershipFactory.create(organisation=acme, role=Role.OWNER)
    members.leave(_scope(owner))

    assert not acme.memberships.filter(user=owner.user).exists()


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_leave_at_once_leave_one() -> None:
    acme = OrganisationFactory.create()
    owners = [MembershipFactory.create(organisation=acme) for _ in range(2)]
    scopes, barrier, refused = [_scope(each) for each in owners], Barrier(2), []

    def leave(scope: Scope) -> None:
        barrier.wait()
        try:
            members.leave(scope)
        except ValidationError as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [Thread(target=leave, args=(scope,)) for scope in scopes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 1
    assert acme.memberships.count() == 1


def test_admin_cannot_appoint_change_or_remove_owners(
    acme: Organisation, owner: Membership
) -> None:
    MembershipFactory.create(organisation=acme, role=Role.OWNER)
    admin = _scope(MembershipFactory.create(organisation=acme, role=Role.ADMIN))
    viewer = MembershipFactory.create(organisation=acme, role=Role.VIEWER)

    for refused in (
        lambda: members.change_role(admin, viewer.pk, Role.OWNER),
        lambda: members.change_role(admin, owner.pk, Role.VIEWER),
        lambda: members.remove(admin, owner.pk),
        lambda: members.change_role(admin, viewer.pk, "emperor"),
    ):
        with pytest.raises(ValidationError, match="does not allow"):
            refused()
    assert members.change_role(admin, viewer.pk, Role.AUTHOR).role == Role.AUTHOR


def test_member_of_another_organisation_is_not_found(owner: Membership) -> None:
    foreign = MembershipFactory.create(role=Role.VIEWER)

    with pytest.raises(Membership.DoesNotExist):
        members.remove(_scope(owner), foreign.pk)


def test_removed_member_keeps_no_grant(acme: Organisation, owner: Membership) -> None:
    member = MembershipFactory.create(organisation=acme, role=Role.VIEWER)
    WorkflowGrant.objects.create(organisation=acme, user=member.user, workflow="check")
    members.remove(_scope(owner), member.pk)

    assert not acme.grants.exists()


def test_service_accounts_are_no_members(acme: Organisation, owner: Membership) -> None:
    service = MembershipFactory.create(organisation=acme, role=Role.ADMIN, user__service_of=acme)

    assert list(members.members_of(acme)) == [owner]
    with pytest.raises(Membership.DoesNotExist):
        members.change_role(_scope(owner), service.pk, Role.OWNER)
