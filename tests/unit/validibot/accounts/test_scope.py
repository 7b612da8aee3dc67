"""Roles, guests and the scopes of API keys."""

import pytest

from tests.factories import MembershipFactory, OrganisationFactory, RunFactory, UserFactory
from validibot.accounts import api_keys
from validibot.accounts.models import ApiKey, KeyScope, Organisation, Role, User, WorkflowGrant
from validibot.accounts.scope import (
    GUEST_PERMISSIONS,
    KEY_PERMISSIONS,
    PERMISSION_TEXTS,
    PERMISSIONS,
    NotAMember,
    Scope,
    organisations_of,
    scope_of,
)
from validibot.api.run_documents import load_document
from validibot.runs.access import visible_runs
from validibot.runs.models import Run


def test_every_role_and_permission_is_in_the_tables() -> None:
    assert list(PERMISSIONS) == list(Role)
    assert set(KEY_PERMISSIONS) == set(KeyScope)
    assert frozenset().union(*PERMISSIONS.values()) == set(PERMISSION_TEXTS)
    assert frozenset().union(*KEY_PERMISSIONS.values()) == set(PERMISSION_TEXTS)
    assert set(PERMISSION_TEXTS) >= GUEST_PERMISSIONS


@pytest.mark.parametrize("role", Role)
def test_owner_may_do_what_any_role_may(role: str) -> None:
    assert PERMISSIONS[role] <= PERMISSIONS[Role.OWNER]


@pytest.mark.parametrize(
    ("key_scopes", "missing"),
    [
        (["read"], "run.launch"),
        (["launch"], "run.view_all"),
        (["read", "launch"], "workflow.edit"),
        ([], "workflow.view"),
    ],
)
def test_key_scopes_narrow_the_role(key_scopes: list[str], missing: str) -> None:
    owner = Scope.of_member(User(), Organisation(), Role.OWNER)
    narrowed = owner.limited_to(ApiKey(scopes=" ".join(key_scopes)))

    assert owner.can(missing)
    assert not narrowed.can(missing)
    assert "API key" in narrowed.refusal(missing)


def test_key_scopes_add_nothing_to_the_role() -> None:
    viewer = Scope.of_member(User(), Organisation(), Role.VIEWER).limited_to(
        ApiKey(scopes=" ".join(KeyScope))
    )

    assert viewer.permissions == PERMISSIONS[Role.VIEWER]
    assert "Viewer" in viewer.refusal("run.launch")


@pytest.fixture
def guest(db: None) -> User:
    """A user to whom a workflow to see and one to launch were granted."""
    guest, acme = UserFactory.create(), OrganisationFactory.create(slug="acme")
    for slug, access in (("seen", "view"), ("launched", "launch")):
        WorkflowGrant.objects.create(organisation=acme, user=guest, workflow=slug, access=access)
    return guest


def test_guest_has_only_what_was_granted(guest: User) -> None:
    scope = scope_of(guest, "acme")

    assert [scope.can_see(slug) for slug in ("seen", "launched", "other")] == [True, True, False]
    assert [scope.can_launch(slug) for slug in ("seen", "launched", "other")] == [
        *(False, True, False)
    ]
    assert not scope.can("run.launch")
    assert not scope.can("member.view")


def test_organisation_of_guest_is_listed_once(guest: User) -> None:
    acme = Organisation.objects.get(slug="acme")
    MembershipFactory.create(organisation=acme, user=guest)

    assert list(organisations_of(guest)) == [acme]


def test_grant_opens_no_other_organisation(guest: User) -> None:
    other = OrganisationFactory.create()

    with pytest.raises(NotAMember):
        scope_of(guest, other.slug)


def test_guest_sees_own_runs_of_granted_workflows_only(guest: User) -> None:
    acme = Organisation.objects.get(slug="acme")
    seen = RunFactory.create(workflow__organisation=acme, workflow__slug="seen", user=guest)
    RunFactory.create(workflow__organisation=acme, workflow__slug="withdrawn", user=guest)
    RunFactory.create(workflow=seen.workflow)
    scope = scope_of(guest, "acme")

    assert list(visible_runs(scope)) == [seen]
    assert load_document(scope, Run.objects.get(workflow__slug="withdrawn").pk) is None


def test_key_of_guest_carries_grants_and_key_scopes(guest: User) -> None:
    key, text = api_keys.issue(guest, "laptop")
    caller = api_keys.authenticate(text, organisation="acme")
    ApiKey.objects.filter(pk=key.pk).update(scopes="read")
    reader = api_keys.authenticate(text, organisation="acme")

    assert caller
    assert caller.scope
    assert caller.scope.can_launch("launched")
    assert reader
    assert reader.scope
    assert reader.scope.can_see("launched")
    assert not reader.scope.can_launch("launched")


def test_key_scopes_limit_a_superuser(db: None) -> None:
    superuser, acme = UserFactory.create(is_superuser=True), OrganisationFactory.create()
    key, text = api_keys.issue(superuser, "laptop")
    ApiKey.objects.filter(pk=key.pk).update(scopes="read")
    caller = api_keys.authenticate(text, organisation=acme.slug)

    assert caller
    assert caller.scope
    assert caller.scope.can("run.view_all")
    assert not caller.scope.can("run.launch")


def test_organisation_that_is_being_deleted_is_not_listed(db: None) -> None:
    membership = MembershipFactory.create(organisation__deletion_requested_at="2026-01-01T00:00Z")

    assert not organisations_of(membership.user).exists()
    assert scope_of(membership.user, membership.organisation.slug).can("organisation.manage")
