"""Limits of the site: each refusal names the site setting, and empty settings limit nothing."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from pytest_django import Settings

from tests.factories import MembershipFactory, StepFactory
from validibot.accounts import invitations, workspaces
from validibot.accounts.models import Membership, Role
from validibot.accounts.scope import Scope
from validibot.core.models import SiteSettings
from validibot.core.site_limits import largest_file
from validibot.runs.access import NotAdmitted
from validibot.runs.start import start
from validibot.submissions.content import Incoming, measure
from validibot.workflows import editing, schedules
from validibot.workflows.document import ImportInvalid
from validibot.workflows.importing import import_workflow
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db
FILE = b"format: validibot.workflow.v1\nslug: other\nname: Other\n"
TIMES: dict[str, Any] = {
    "name": "A",
    "cron": "0 2 * * *",
    "time_zone": "UTC",
    "metadata": {},
    "file": None,
}


@pytest.fixture
def owner() -> Membership:
    member: Membership = MembershipFactory.create(role=Role.OWNER)
    StepFactory.create(workflow__organisation=member.organisation, workflow__slug="check")
    return member


def create(owner: Membership) -> Any:
    return editing.create(owner.organisation, author=owner.user, slug="new", name="New")


def clone(owner: Membership) -> Any:
    return editing.clone(Workflow.objects.get(), author=owner.user)


def invite(owner: Membership) -> Any:
    scope = Scope.of_member(owner.user, owner.organisation, Role.OWNER)
    return invitations.invite(scope, "ada@example.org", role=Role.VIEWER)


def schedule(owner: Membership) -> Any:
    url = "https://example.org/a.json"
    return schedules.create(Workflow.objects.get(), user=owner.user, url=url, **TIMES)


def found_organisation(owner: Membership) -> Any:
    return workspaces.create_organisation(owner.user, "Acme")


@pytest.mark.parametrize(
    ("setting", "act", "message"),
    [
        ("workflows_per_organisation", create, "at most 1 workflows per organisation"),
        ("workflows_per_organisation", clone, "at most 1 workflows per organisation"),
        ("members_per_organisation", invite, "at most 1 members per organisation"),
        ("schedules_per_organisation", schedule, "at most 1 schedules per organisation"),
        ("organisations_per_user", found_organisation, "at most 1 organisations per user"),
    ],
)
def test_full_limit_refuses_one_more_and_names_the_setting(
    owner: Membership, setting: str, act: Callable[[Membership], Any], message: str
) -> None:
    if setting == "schedules_per_organisation":
        act(owner)
    SiteSettings.objects.create(**{setting: 1})

    with pytest.raises(ValidationError, match=message):
        act(owner)

    SiteSettings.objects.update(**{setting: 2})
    act(owner)


def test_import_beyond_the_limit_is_refused_but_not_an_update(owner: Membership) -> None:
    SiteSettings.objects.create(workflows_per_organisation=1)

    with pytest.raises(ImportInvalid, match="at most 1 workflows per organisation"):
        import_workflow(FILE, organisation=owner.organisation, author=owner.user)

    update = FILE.replace(b"other", b"check")
    import_workflow(update, organisation=owner.organisation, author=owner.user, update=True)


def test_imports_at_the_same_time_stay_within_the_limit(
    owner: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check of the file found room, but a workflow was created before the import wrote its own."""
    SiteSettings.objects.create(workflows_per_organisation=1)
    monkeypatch.setattr("validibot.workflows.importing.ImportPlanner._check_room", lambda _: None)

    with pytest.raises(ImportInvalid, match="at most 1 workflows per organisation"):
        import_workflow(FILE, organisation=owner.organisation, author=owner.user)


def test_member_beyond_the_limit_cannot_accept(owner: Membership) -> None:
    invitation = invite(owner)
    SiteSettings.objects.create(members_per_organisation=1)
    ada = MembershipFactory.create(user__email="ada@example.org").user
    EmailAddress.objects.create(user=ada, email=ada.email, verified=True)

    with pytest.raises(ValidationError, match="at most 1 members per organisation"):
        invitations.accept(invitation, ada)


def test_file_beyond_the_limit_starts_no_run(owner: Membership, settings: Settings) -> None:
    SiteSettings.objects.create(largest_file_megabytes=1)
    file = io.BytesIO(b" " * 1_000_001)
    incoming = Incoming(file, "a.json", *measure(file))

    with pytest.raises(NotAdmitted, match=r"at most 1 MB .*“largest file in MB”") as refused:
        start(Workflow.objects.get(), incoming, user=owner.user, source="API")

    assert (refused.value.status, largest_file()) == (413, 1_000_000)
    settings.MAX_UPLOAD_BYTES = 500
    assert largest_file() == 500
