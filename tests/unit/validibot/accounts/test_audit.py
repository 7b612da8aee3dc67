"""The audit log: entries, filters, export, and its refusal of changes."""

import csv
import datetime as dt
import io
import json

import pytest
import time_machine
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import DatabaseError, transaction
from django.test import Client
from django.utils import timezone

from tests.factories import MembershipFactory, WorkflowFactory
from validibot.accounts import api_keys, audit, members, projects
from validibot.accounts.audit_texts import ACTIONS
from validibot.accounts.models import AuditEntry, Membership, Role, User
from validibot.accounts.scope import Scope
from validibot.web.audit import KINDS
from validibot.web.templatetags.auditlog import action_text, change_texts
from validibot.webhooks import editing as webhooks
from validibot.webhooks.models import Webhook
from validibot.workflows import editing, schedules

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> Membership:
    return MembershipFactory.create(organisation__slug="acme", role=Role.OWNER)


@pytest.fixture
def scope(owner: Membership) -> Scope:
    return Scope.of_member(owner.user, owner.organisation, Role.OWNER)


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


def test_change_by_page_is_recorded_with_its_origin(client: Client, owner: Membership) -> None:
    other = MembershipFactory.create(organisation=owner.organisation, role=Role.VIEWER)
    client.force_login(owner.user)
    answer = client.post(
        f"/app/orgs/acme/settings/members/{other.pk}/role/",
        {"role": "author"},
        REMOTE_ADDR="10.1.2.3",
    )
    entry = AuditEntry.objects.get()

    assert (entry.action, entry.target) == ("member.role_changed", other.user.email)
    assert entry.changes == {"role": ["viewer", "author"]}
    assert (entry.actor, entry.address, entry.via) == (owner.user.email, "10.1.2.3", "page")
    assert entry.request_id == answer.headers["X-Request-ID"]


def test_change_by_key_is_recorded_as_its_user(client: Client, owner: Membership) -> None:
    _, token = api_keys.issue(owner.user, "CI")
    body = {"name": "Chat", "url": "https://hooks.example.org", "events": ["run.failed"]}
    client.post(
        "/api/v1/orgs/acme/webhooks/",
        body,
        "application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    entry = AuditEntry.objects.get()

    assert (entry.action, entry.actor, entry.via) == ("webhook.created", owner.user.email, "api")


def test_changes_of_each_kind_are_recorded(scope: Scope) -> None:
    organisation = scope.organisation
    keys = api_keys.service_keys_of(organisation)
    key, _ = api_keys.issue_for_service(
        organisation, "CI", role=Role.VIEWER, scopes=["read"], lifetime=api_keys.LIFETIME
    )
    new, _ = api_keys.rotate(keys, key.pk, overlap=dt.timedelta())
    api_keys.revoke(keys, new.pk)
    hook = webhooks.create(scope, name="Chat", url="https://a.example.org", events=[], style="json")
    webhooks.switch(hook, on=False)
    webhooks.delete(hook)
    projects.create(organisation, name="Homes", colour="teal")
    workflow = WorkflowFactory.create(organisation=organisation)
    editing.archive(workflow)
    editing.delete(workflow)

    assert actions() == [
        *("key.created", "key.rotated", "key.revoked"),
        *("webhook.created", "webhook.switched", "webhook.deleted"),
        *("project.created", "workflow.archived", "workflow.deleted"),
    ]


def test_address_of_webhook_is_recorded_without_its_secret_path(scope: Scope) -> None:
    hook = webhooks.create(
        scope, name="Chat", url="https://a.example.org/s3cret", events=[], style="slack"
    )
    webhooks.edit(hook, url="https://a.example.org/other?sig=s3cret")
    webhooks.delete(hook)

    told = [entry.changes["url"] for entry in AuditEntry.objects.order_by("pk")]
    place = "https://a.example.org"
    assert told == [[None, place], [place, f"{place} (another address)"], [place, None]]


def test_personal_key_is_recorded_for_its_owner(owner: Membership) -> None:
    user = owner.user
    key, _ = api_keys.issue_for_user(user, "CI", scopes=["read"], lifetime=api_keys.LIFETIME)
    keys = user.api_keys.all()
    new, _ = api_keys.rotate(keys, key.pk, overlap=dt.timedelta())
    api_keys.revoke(keys, new.pk)

    entries = user.security_entries.order_by("pk")
    assert [each.action for each in entries] == ["key.created", "key.rotated", "key.revoked"]
    assert not owner.organisation.audit_entries.exists()


def test_sign_in_is_recorded_also_when_it_fails(client: Client, owner: Membership) -> None:
    address = owner.user.email
    EmailAddress.objects.create(user=owner.user, email=address, verified=True, primary=True)
    for typed, password in ((address, "wrong"), ("hunter2", "x"), (address, "sesame")):
        client.post("/accounts/login/", {"login": typed, "password": password})

    entries = list(AuditEntry.objects.order_by("pk").values_list("action", "account", "target"))
    assert entries == [
        ("sign_in.failed", owner.user.pk, address),
        *[("sign_in.failed", None, "unknown account")] * (len(entries) - 2),
        ("sign_in.succeeded", owner.user.pk, address),
    ]
    page = client.get("/app/users/security/").content.decode()
    assert f"Sign-in failed: {address}" in page
    assert "Method: password" in page
    assert "Not signed in" in page
    assert "unknown account" not in page


def test_second_factor_that_fails_is_recorded(owner: Membership) -> None:
    factor = Authenticator(user=owner.user, type="totp")

    authentication_failed.send(Authenticator, request=None, user=owner.user, authenticator=factor)

    entry = owner.user.security_entries.get()
    assert (entry.action, entry.changes) == ("second_factor.failed", {"type": [None, "totp"]})


def test_change_of_site_settings_is_recorded(client: Client) -> None:
    operator = User.objects.create_superuser("root@example.com")
    client.force_login(operator)
    form = {"sign_up": "closed", "banner": "", "members_per_organisation": "5"}
    client.get("/admin/core/sitesettings/")
    client.post("/admin/core/sitesettings/1/change/", form)

    entry = AuditEntry.objects.get(action="site.settings_changed")
    assert entry.changes == {"sign_up": ["open", "closed"], "members_per_organisation": [None, 5]}
    assert (entry.organisation, entry.actor) == (None, "root@example.com")
    assert "site.settings_changed" in client.get("/admin/accounts/auditentry/").content.decode()


def test_schedule_and_sample_are_recorded(client: Client, owner: Membership) -> None:
    workflow = WorkflowFactory.create(organisation=owner.organisation, slug="office")
    client.force_login(owner.user)
    editor = "/app/orgs/acme/workflows/office"
    file = SimpleUploadedFile("a.json", b"{}")
    client.post(f"{editor}/samples/", {"file": file, "title": "", "passes": "pass"})
    client.post(f"{editor}/samples/{workflow.samples.get().pk}/delete/")
    timed = {"name": "Nightly", "cron": "0 7 * * *", "time_zone": "UTC"}
    made = schedules.create(
        workflow, user=owner.user, file=None, url="https://a.example.org", metadata={}, **timed
    )
    schedules.pause(made)
    schedules.pause(made)
    schedules.resume(made, user=owner.user)
    values = timed | {"cron": "0 8 * * *"}
    schedules.change(made, file=None, url="", metadata={}, **values)
    schedules.delete(made)

    assert actions() == [
        *("sample.added", "sample.deleted", "schedule.created", "schedule.paused"),
        *("schedule.resumed", "schedule.changed", "schedule.deleted"),
    ]
    changed = AuditEntry.objects.get(action="schedule.changed")
    assert (changed.target, changed.changes) == (
        "office: Nightly",
        {"cron": ["0 7 * * *", "0 8 * * *"]},
    )


def test_refused_change_leaves_no_entry(scope: Scope, owner: Membership) -> None:
    with pytest.raises(ValidationError):
        members.change_role(scope, owner.pk, Role.VIEWER)

    assert actions() == []


def test_change_that_is_undone_leaves_no_entry(scope: Scope) -> None:
    with transaction.atomic():
        webhooks.create(scope, name="Chat", url="https://a.example.org", events=[], style="json")
        transaction.set_rollback(True)

    assert (actions(), Webhook.objects.count()) == ([], 0)


def test_database_refuses_change_of_entry(scope: Scope) -> None:
    audit.record(scope.organisation, "project.created", "Homes")

    with pytest.raises(DatabaseError, match="cannot be changed"), transaction.atomic():
        AuditEntry.objects.update(actor="somebody else")


def test_old_entries_are_purged_in_the_end(scope: Scope) -> None:
    audit.record(scope.organisation, "project.created", "Homes")

    assert audit.purge_entries(timezone.now() - dt.timedelta(days=1)) == 0
    assert audit.purge_entries(timezone.now() + dt.timedelta(days=1)) == 1


def test_page_shows_what_filters_select(client: Client, scope: Scope, owner: Membership) -> None:
    with time_machine.travel("2026-01-02T12:00:00Z", tick=False):
        audit.record(scope.organisation, "project.created", "=Homes")
    audit.record(scope.organisation, "member.joined", "ada@example.org", {"role": (None, "viewer")})
    client.force_login(owner.user)
    base = "/app/orgs/acme/settings/audit/"
    listed = client.get(base, {"action": "member"}).content.decode()
    exported = client.get(f"{base}export/", {"kind": "csv", "before": "2026-01-03"})
    wrong = client.get(base, {"after": "yesterday"}).content.decode()

    assert "Member joined: ada@example.org" in listed
    assert "Role: Viewer" in listed
    assert "=Homes" not in listed
    assert exported.headers["Content-Disposition"].endswith("audit.csv")
    assert "Enter a valid date" in wrong
    assert "=Homes" not in wrong


def test_filter_has_every_kind_of_an_organisation() -> None:
    kinds = {action.partition(".")[0] for action in ACTIONS}

    # Those of accounts and of the site.
    assert kinds - set(KINDS) == {"password", "second_factor", "sign_in", "site", "waitlist"}
    assert set(KINDS) - kinds == {""}


def test_changes_are_told_in_words() -> None:
    changes = {
        "is_active": [True, False],
        "workflows": [{}, {"homes": "launch"}],
        "roles": [["owner"], []],
        "scopes": [None, "read manage"],
        "API_KEY": ["value 1", "value 2"],
    }

    assert [*change_texts(AuditEntry(changes=changes))] == [
        ("Switched on", "yes", "no"),
        ("Workflows", "", "homes (View and start runs)"),
        ("Roles", "Owner", "—"),
        ("Scopes", "", "Read, Manage"),
        ("API_KEY", "value 1", "value 2"),
    ]
    assert action_text("older.release") == "older.release"


def test_exports_hold_all_batches_and_no_formula(
    scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "BATCH", 2)
    for name in ("=Homes", "Offices", "Shops"):
        audit.record(scope.organisation, "project.created", name, {"name": (None, name)})
    entries = audit.filter_entries(scope.organisation)
    rows = list(csv.DictReader(io.StringIO(b"".join(audit.write_csv(entries)).decode())))
    lines = b"".join(audit.write_jsonl(entries)).splitlines()

    assert [row["target"] for row in rows] == ["Shops", "Offices", "'=Homes"]
    assert json.loads(lines[2])["changes"] == {"name": [None, "=Homes"]}


def test_api_lists_and_exports_the_log(client: Client, scope: Scope, owner: Membership) -> None:
    audit.record(scope.organisation, "project.created", "Homes")
    audit.record(scope.organisation, "member.joined", "ada@example.org")
    _, token = api_keys.issue(owner.user, "CI")
    headers = {"Authorization": f"Bearer {token}"}
    path = "/api/v1/orgs/acme/audit/"
    listed = client.get(f"{path}?action=project&count=true", headers=headers).json()
    exported = client.get(f"{path}export/?kind=jsonl&action=member", headers=headers)

    assert (listed["count"], listed["results"][0]["target"]) == (1, "Homes")
    assert exported.status_code == 200
    assert client.get(f"{path}?after=x", headers=headers).status_code == 400
    assert client.get(f"{path}export/?kind=pdf", headers=headers).status_code == 400
