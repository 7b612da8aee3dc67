"""Pages of organisations, members, invitations, projects and keys, and the organisation switcher."""

import re
import shlex
from typing import Any
from urllib.parse import quote

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.db.models import F
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from tests.factories import (
    MembershipFactory,
    OrganisationFactory,
    ProjectFactory,
    RunFactory,
    UserFactory,
    WorkflowFactory,
)
from validibot.accounts import api_keys, invitations
from validibot.accounts.models import (
    ApiKey,
    Invitation,
    Membership,
    Organisation,
    Project,
    Role,
    User,
    WorkflowGrant,
)

pytestmark = pytest.mark.django_db

PASSWORD = "correct-horse-7"


@pytest.fixture
def owner(client: Client) -> Membership:
    """The owner of the organisation `acme`, signed in to `client`."""
    membership: Membership = MembershipFactory.create(
        organisation__slug="acme", organisation__name="Acme"
    )
    client.force_login(membership.user)
    return membership


def _post(client: Client, path: str, **fields: Any) -> Any:
    return client.post(f"/app/orgs/acme/settings/{path}", fields)


def _text(answer: Any) -> str:
    return str(answer.content.decode())


def test_created_organisation_opens_its_members(client: Client) -> None:
    client.force_login(UserFactory.create())
    answer = client.post("/app/orgs/", {"name": "  Bau\u202e & \u200bSöhne "})

    made = Organisation.objects.get()
    assert answer.headers["Location"] == "/app/orgs/bau-sohne/settings/members/"
    assert made.name == "Bau & Söhne"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", "required"),
        ("\u200b", "required"),
        ("x" * 151, "at most 150"),
        ("acme", "Choose another name"),
    ],
)
def test_bad_name_of_organisation_is_refused(
    client: Client, owner: Membership, name: str, error: str
) -> None:
    answer = client.post("/app/orgs/", {"name": name})

    assert answer.status_code == 422
    assert error in _text(answer)
    assert Organisation.objects.count() == 1


def test_renamed_organisation_keeps_its_address(client: Client, owner: Membership) -> None:
    _post(client, "", name="Acme Energy", data_region="site")

    organisation = Organisation.objects.get()
    assert (organisation.name, organisation.slug) == ("Acme Energy", "acme")


def test_organisation_is_deleted_when_its_name_is_typed(client: Client, owner: Membership) -> None:
    RunFactory.create(workflow=WorkflowFactory.create(organisation=owner.organisation))
    _post(client, "delete/", confirmation="Acne")
    assert Organisation.objects.get().deletion_requested_at is None

    _post(client, "delete/", confirmation=" Acme ")
    assert not Organisation.objects.exists()


def test_personal_workspace_cannot_be_deleted(client: Client, owner: Membership) -> None:
    Organisation.objects.update(personal_owner=owner.user)
    _post(client, "delete/", confirmation="Acme")

    assert Organisation.objects.get().deletion_requested_at is None


def test_last_owner_is_told_why_leaving_is_refused(client: Client, owner: Membership) -> None:
    answer = client.post("/app/orgs/acme/settings/leave/", follow=True)

    assert "is the last owner of Acme" in _text(answer)
    assert owner.organisation.memberships.exists()


def _invitation_link(
    client: Client, callbacks: DjangoCaptureOnCommitCallbacks, path: str = "members/", **fields: Any
) -> str:
    fields = {"email": "ada@example.org"} | (fields or {"role": "author"})
    with callbacks(execute=True):
        answer = _post(client, path, **fields)
    assert answer.status_code == 302, _text(answer)
    found = re.search(r"http://[^/]+(/invitations/\S+)", str(mail.outbox[-1].body))
    assert found
    return found[1]


def test_new_account_accepts_an_invitation(
    client: Client,
    owner: Membership,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    link = _invitation_link(client, django_capture_on_commit_callbacks)
    visitor = Client()
    assert "Create an account" in _text(visitor.get(link))
    with django_capture_on_commit_callbacks(execute=True):
        visitor.post(
            f"/accounts/signup/?next={link}",
            {"email": "ada@example.org", "password1": PASSWORD, "password2": PASSWORD},
        )
    # The link may be forwarded: there is no account before the invited address is verified.
    assert visitor.post(link).status_code == 200
    assert not owner.organisation.memberships.filter(user__email="ada@example.org").exists()
    verification = re.search(
        r"http://[^/]+(/accounts/confirm-email/\S+)", str(mail.outbox[-1].body)
    )
    assert verification
    confirmed = visitor.post(verification[1])

    assert confirmed.headers["Location"] == f"/accounts/login/?next={quote(link, safe='')}"
    visitor.force_login(User.objects.get(email="ada@example.org"))
    assert visitor.post(link).headers["Location"] == "/app/orgs/acme/workflows/"
    member = owner.organisation.memberships.get(user__email="ada@example.org")
    assert member.role == Role.AUTHOR
    assert visitor.post(link).headers["Location"] == "/app/orgs/acme/workflows/"


def test_invitation_verifies_no_other_address(
    client: Client,
    owner: Membership,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    link = _invitation_link(client, django_capture_on_commit_callbacks)
    visitor = Client()
    visitor.get(link)
    visitor.post(
        "/accounts/signup/",
        {"email": "eve@example.org", "password1": PASSWORD, "password2": PASSWORD},
    )

    assert not EmailAddress.objects.filter(email="eve@example.org", verified=True).exists()


def test_invitation_for_another_address_is_explained(
    client: Client,
    owner: Membership,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    link = _invitation_link(client, django_capture_on_commit_callbacks)
    answers = [client.get(link), client.post(link)]

    assert all("has not verified ada@example.org" in _text(each) for each in answers)
    assert Invitation.objects.get().accepted_at is None


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"expires_at": timezone.now()}, 410, "It has expired"),
        ({"revoked_at": timezone.now()}, 410, "It was revoked"),
        ({"accepted_at": timezone.now()}, 410, "It was accepted already"),
        ({"token_digest": "0" * 64}, 404, "newer mail has replaced it"),
    ],
)
def test_closed_invitation_shows_a_friendly_page(
    client: Client,
    owner: Membership,
    change: dict[str, Any],
    status: int,
    text: str,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    link = _invitation_link(client, django_capture_on_commit_callbacks)
    Invitation.objects.update(**change)
    answer = Client().post(link)

    assert (answer.status_code, text in _text(answer)) == (status, True)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"email": "nobody", "role": "author"}, "valid email address"),
        ({"email": "ada@example.org", "role": "emperor"}, "Select a valid choice"),
        ({"email": "a" * 300 + "@example.org", "role": "author"}, "at most"),
        ({}, "required"),
    ],
)
def test_bad_invitation_is_refused(
    client: Client, owner: Membership, fields: dict[str, str], error: str
) -> None:
    answer = _post(client, "members/", **fields)

    assert (answer.status_code, error in _text(answer)) == (422, True)
    assert not Invitation.objects.exists()


def test_guest_sees_granted_workflow_only(
    client: Client,
    owner: Membership,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    shown = WorkflowFactory.create(organisation=owner.organisation, name="Shown")
    WorkflowFactory.create(organisation=owner.organisation, name="Hidden")
    guest = UserFactory.create(email="ada@example.org")
    EmailAddress.objects.create(user=guest, email=guest.email, verified=True)
    fields = {"workflows": [shown.slug], "access": "view"}
    link = _invitation_link(client, django_capture_on_commit_callbacks, "guests/", **fields)
    invited = _text(client.get("/app/orgs/acme/settings/guests/"))
    visitor = Client()
    visitor.force_login(guest)
    visitor.post(link)
    page = _text(visitor.get("/app/orgs/acme/workflows/"))

    assert "Shown (View)" in invited
    assert "Shown (View)" in _text(client.get("/app/orgs/acme/settings/guests/"))
    assert "Shown" in page
    assert "Hidden" not in page
    assert "/app/orgs/acme/settings/" not in page
    _post(client, f"guests/{guest.pk}/", **{shown.slug: "launch"})
    assert WorkflowGrant.objects.get().access == "launch"
    _post(client, f"guests/{guest.pk}/remove/")
    assert visitor.get("/app/orgs/acme/workflows/").status_code == 404


def test_guest_cannot_be_given_the_workflow_of_another_organisation(
    client: Client, owner: Membership
) -> None:
    WorkflowFactory.create(organisation=owner.organisation)
    foreign = WorkflowFactory.create()
    fields = {"email": "ada@example.org", "workflows": [foreign.slug], "access": "view"}

    assert _post(client, "guests/", **fields).status_code == 422


def test_project_page_creates_edits_and_deletes(client: Client, owner: Membership) -> None:
    for name in ("Homes", "Offices"):
        _post(client, "projects/", name=name, colour="violet")
    assert _post(client, "projects/", name="homes", colour="violet").status_code == 422
    assert _post(client, "projects/", name="Barns", colour="pink").status_code == 422
    offices = Project.objects.get(name="Offices")
    _post(client, f"projects/{offices.pk}/", name="Towers", colour="blue")
    _post(client, f"projects/{offices.pk}/default/")
    _post(client, f"projects/{Project.objects.get(name='Homes').pk}/delete/")

    assert list(Project.objects.values_list("name", "colour", "is_default")) == [
        ("Towers", "blue", True)
    ]


def test_workflows_and_runs_are_filtered_by_project(client: Client, owner: Membership) -> None:
    for name in ("homes", "offices"):
        project = ProjectFactory.create(organisation=owner.organisation, name=name, slug=name)
        workflow = WorkflowFactory.create(
            organisation=owner.organisation, project=project, name=f"Check {name}"
        )
        RunFactory.create(workflow=workflow, submission__filename=f"{name}.json")
    _key, text = api_keys.issue(owner.user, "test")
    headers = {"Authorization": f"Bearer {text}"}
    listed = _text(client.get("/app/orgs/acme/workflows/?project=homes"))
    listed = listed[: listed.index("Latest runs")]
    runs = _text(client.get("/app/orgs/acme/runs/?project=homes"))
    documents = client.get("/api/v1/orgs/acme/workflows/?project=homes", headers=headers).json()
    of_runs = client.get("/api/v1/orgs/acme/runs/?project=homes", headers=headers).json()

    assert "Check homes" in listed
    assert "Check offices" not in listed
    assert "homes.json" in runs
    assert "offices.json" not in runs
    assert [each["project"] for each in documents["results"]] == ["homes"]
    assert len(of_runs["results"]) == 1
    assert (
        client.get("/api/v1/orgs/acme/workflows/?project=%00", headers=headers).status_code == 400
    )


def test_new_key_is_shown_once_with_working_commands(client: Client, owner: Membership) -> None:
    answer = client.post(
        "/app/users/api-key/", {"name": "Laptop", "scopes": ["read"], "lifetime": "30"}
    )
    curl = shlex.split(answer.context["request_command"])
    header, url = curl[2], curl[3]
    name, _, value = header.partition(": ")
    path = "/" + url.split("/", 3)[3]

    assert answer.context["text"] in answer.context["commands"]
    assert Client().get(path, headers={name: value}).status_code == 200
    assert answer.context["text"] not in _text(client.get("/app/users/api-key/"))


def test_service_key_is_created_with_role_and_rotated(client: Client, owner: Membership) -> None:
    fields = {"name": "CI", "scopes": ["launch"], "lifetime": "90", "role": "executor"}
    first = _post(client, "keys/", **fields).context["text"]
    again = _post(client, "keys/", **fields)
    pk = ApiKey.objects.get().pk
    assert _post(client, f"keys/{pk}/rotate/", overlap="9999").status_code == 302
    second = _post(client, f"keys/{pk}/rotate/", overlap="0").context["text"]

    assert (again.status_code, "Choose another name" in _text(again)) == (422, True)
    assert api_keys.authenticate(first) is None
    caller = api_keys.authenticate(second, organisation="acme")
    assert caller
    assert caller.scope
    assert caller.scope.can("run.launch")
    _post(client, f"keys/{ApiKey.objects.get(replaced_by=None).pk}/revoke/")
    assert api_keys.authenticate(second) is None


def test_switcher_keeps_the_page(client: Client, owner: Membership) -> None:
    other = OrganisationFactory.create(slug="other")
    MembershipFactory.create(organisation=other, user=owner.user)
    run = RunFactory.create(workflow__organisation=owner.organisation)
    pages = {
        "workflows/": "workflows/",
        "settings/members/": "settings/members/",
        f"runs/{run.pk}/": "runs/",
        f"workflows/{run.workflow.slug}/": "workflows/",
    }
    for here, there in pages.items():
        page = _text(client.get(f"/app/orgs/acme/{here}"))
        menu = page[page.index('class="menu"') :]

        assert f'href="/app/orgs/other/{there}"' in menu


def test_roles_page_shows_each_permission(client: Client, owner: Membership) -> None:
    page = _text(client.get("/app/orgs/acme/settings/roles/"))

    assert "Create and edit workflows" in page
    assert "Analytics viewer" in page


def test_person_invited_twice_has_one_open_invitation(client: Client, owner: Membership) -> None:
    for role in ("author", "viewer"):
        Invitation.objects.update(sent_at=F("created_at") - invitations.RESEND_INTERVAL)
        _post(client, "members/", email="ada@example.org", role=role)
    (row,) = Invitation.objects.all()
    Invitation.objects.update(sent_at=row.created_at - invitations.RESEND_INTERVAL)
    _post(client, f"invited/{row.pk}/resend/")
    _post(client, f"invited/{row.pk}/revoke/")

    assert row.role == "viewer"
    assert Invitation.objects.get().revoked_at is not None
    assert not User.objects.filter(email="ada@example.org").exists()
