"""Invitations by mail: who may accept which link, and until when."""

import datetime as dt
import re

import pytest
import time_machine
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from tests.factories import MembershipFactory, OrganisationFactory, UserFactory, WorkflowFactory
from validibot.accounts import invitations
from validibot.accounts.models import Invitation, Membership, Organisation, Role, User
from validibot.accounts.scope import Scope, scope_of
from validibot.core.throttle import FailureLimit

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin() -> Scope:
    membership = MembershipFactory.create(role=Role.ADMIN)
    return scope_of(membership.user, membership.organisation.slug)


def _person(email: str = "ada@example.org", *, verified: bool = True) -> User:
    user: User = UserFactory.create(email=email)
    EmailAddress.objects.create(user=user, email=email, verified=verified, primary=True)
    return user


def _token(callbacks: DjangoCaptureOnCommitCallbacks, scope: Scope, **invitation: str) -> str:
    """Return the token of the link in the mail of a new invitation."""
    with callbacks(execute=True):
        invitations.invite(scope, "ada@example.org", **({"role": "author"} | invitation))
    found = re.search(r"/invitations/([\w-]+)/", str(mail.outbox[-1].body))
    assert found
    return found[1]


def test_accepted_invitation_gives_the_role(
    admin: Scope, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    token, ada = _token(django_capture_on_commit_callbacks, admin), _person()
    invitation = invitations.find(token)
    assert invitation
    invitations.accept(invitation, ada)

    assert mail.outbox[-1].to == ["ada@example.org"]
    assert admin.organisation.memberships.get(user=ada).role == Role.AUTHOR
    with pytest.raises(ValidationError, match="no longer open"):
        invitations.accept(invitation, ada)


def test_token_is_not_stored(
    admin: Scope, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    token = _token(django_capture_on_commit_callbacks, admin)

    assert all(token not in str(value) for value in Invitation.objects.values_list().get())


@pytest.mark.parametrize("verified", [True, False])
def test_other_or_unverified_address_cannot_accept(admin: Scope, verified: bool) -> None:
    invitation = invitations.invite(admin, "ada@example.org", role="author")
    other = _person("eve@example.org") if verified else _person(verified=False)

    with pytest.raises(ValidationError, match="not verified"):
        invitations.accept(invitation, other)
    assert not Membership.objects.filter(user=other).exists()


def test_expired_or_revoked_invitation_cannot_be_accepted(admin: Scope) -> None:
    ada = _person()
    invitation = invitations.invite(admin, "ada@example.org", role="author")
    with (
        time_machine.travel(timezone.now() + invitations.LIFETIME),
        pytest.raises(ValidationError, match="no longer open"),
    ):
        invitations.accept(invitation, ada)
    invitations.revoke(admin, invitation.pk)
    with pytest.raises(ValidationError, match="no longer open"):
        invitations.accept(invitation, ada)


def test_admin_cannot_revoke_invitation_of_an_owner(admin: Scope) -> None:
    owner = MembershipFactory.create(organisation=admin.organisation, role=Role.OWNER).user
    by_owner = scope_of(owner, admin.organisation.slug)
    invitation = invitations.invite(by_owner, "ada@example.org", role="owner")

    with pytest.raises(ValidationError, match="does not allow"):
        invitations.revoke(admin, invitation.pk)


def test_changed_invitation_is_not_sent_twice_within_a_minute(admin: Scope) -> None:
    invitations.invite(admin, "ada@example.org", role="author")

    with pytest.raises(ValidationError, match="less than a minute"):
        invitations.invite(admin, "ada@example.org", role="viewer")

    assert Invitation.objects.get().role == "author"


def test_invitations_of_a_day_are_limited(admin: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = FailureLimit("invitation-mails", count=1, seconds=60)
    monkeypatch.setattr(invitations, "_MAILS", limit)
    invitation = invitations.invite(admin, "ada@example.org", role="author")
    invitations.revoke(admin, invitation.pk)

    with pytest.raises(ValidationError, match="has sent 1 invitations today"):
        invitations.invite(admin, "ada@example.org", role="author")


def test_resent_invitation_replaces_the_link(
    admin: Scope, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    token = _token(django_capture_on_commit_callbacks, admin)
    invitation = invitations.find(token)
    assert invitation
    with pytest.raises(ValidationError, match="less than a minute"):
        invitations.resend(admin, invitation.pk)
    with time_machine.travel(timezone.now() + dt.timedelta(days=30)):
        invitations.resend(admin, invitation.pk)

        assert invitations.find(token) is None
        assert Invitation.objects.get().is_open


def test_double_click_sends_one_mail(
    admin: Scope, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    for _ in range(2):
        _token(django_capture_on_commit_callbacks, admin)

    assert len(mail.outbox) == 1
    assert Invitation.objects.count() == 1


def test_changed_invitation_replaces_the_one_before(
    admin: Scope, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    first = _token(django_capture_on_commit_callbacks, admin)
    with time_machine.travel(timezone.now() + invitations.RESEND_INTERVAL):
        second = _token(django_capture_on_commit_callbacks, admin, role="viewer")

    assert invitations.find(first) is None
    found = invitations.find(second)
    assert found
    assert found.role == "viewer"


def test_admin_cannot_invite_an_owner(admin: Scope) -> None:
    with pytest.raises(ValidationError, match="does not allow"):
        invitations.invite(admin, "ada@example.org", role=Role.OWNER)


def test_member_cannot_be_invited_again(admin: Scope) -> None:
    MembershipFactory.create(organisation=admin.organisation, user=_person())

    with pytest.raises(ValidationError, match="is a member already"):
        invitations.invite(admin, "Ada@Example.org", role="viewer")


def test_member_who_accepts_keeps_the_role(admin: Scope) -> None:
    ada = _person()
    invitation = invitations.invite(admin, "ada@example.org", role="viewer")
    MembershipFactory.create(organisation=admin.organisation, user=ada, role=Role.ADMIN)
    invitations.accept(invitation, ada)

    assert admin.organisation.memberships.get(user=ada).role == Role.ADMIN


def test_page_of_a_guest_names_workflows_as_their_newest_versions(
    admin: Scope, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, name in enumerate(("Draft", "Office model"), start=1):
        WorkflowFactory.create(
            organisation=admin.organisation, slug="office", version=version, name=name
        )
    made = invitations.invite(admin, "ada@example.org", workflows=["office"])
    monkeypatch.setattr(invitations, "find", lambda token: made)

    assert "these workflows: Office model." in client.get("/invitations/x/").content.decode()


def test_guest_who_accepts_sees_the_granted_workflow(admin: Scope) -> None:
    workflow, ada = WorkflowFactory.create(organisation=admin.organisation), _person()
    invitation = invitations.invite(
        admin, "ada@example.org", workflows=[workflow.slug], access="launch"
    )
    invitations.accept(invitation, ada)

    scope = scope_of(ada, admin.organisation.slug)
    assert scope.workflows is not None
    assert scope.can_launch(workflow.slug)


def test_invitation_to_a_deleted_workflow_grants_nothing(admin: Scope) -> None:
    workflow, ada = WorkflowFactory.create(organisation=admin.organisation), _person()
    invitation = invitations.invite(admin, "ada@example.org", workflows=[workflow.slug])
    workflow.delete()

    with pytest.raises(ValidationError, match="deleted or renamed"):
        invitations.accept(invitation, ada)
    assert not admin.organisation.grants.exists()


def test_organisation_that_is_being_deleted_takes_no_members(admin: Scope) -> None:
    ada = _person()
    invitation = invitations.invite(admin, "ada@example.org", role="viewer")
    Organisation.objects.update(deletion_requested_at=timezone.now())

    with pytest.raises(ValidationError, match="no longer open"):
        invitations.accept(invitation, ada)
    with pytest.raises(ValidationError, match="being deleted"):
        invitations.invite(admin, "bob@example.org", role="viewer")


def test_invitation_of_another_organisation_is_not_found(admin: Scope) -> None:
    invitation = invitations.invite(admin, "ada@example.org", role="viewer")
    other = Scope.of_member(UserFactory.create(), OrganisationFactory.create(), Role.OWNER)

    for act in (invitations.resend, invitations.revoke):
        with pytest.raises(Invitation.DoesNotExist):
            act(other, invitation.pk)
