"""Reading an organisation, and changing its webhooks and service keys."""

import asyncio
import datetime as dt
from typing import Any
from unittest.mock import ANY

import pytest
from django.utils import timezone

from tests.factories import OrganisationFactory, ValidatorFactory
from tests.unit.validibot.api.conftest import Api
from validibot.accounts import api_keys
from validibot.accounts.models import ApiKey, Organisation, Role, User
from validibot.submissions.models import Submission
from validibot.webhooks.models import Webhook, WebhookDelivery
from validibot.workflows.models import Workflow

ORG = "orgs/acme/"
HOOK: dict[str, Any] = {
    "name": "Chat",
    "url": "https://hooks.example.org/a",
    "events": ["run.failed"],
}
KEY = {"name": "CI", "role": "executor", "scopes": ["read", "launch"]}


@pytest.fixture
def admin(alice: Api, acme: Organisation) -> Api:
    acme.memberships.update(role=Role.ADMIN)
    return alice


def send(api: Api, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Send a JSON body to a path below the organisation."""
    url, headers = f"/api/v1/{ORG}{path}", api.headers | headers
    return getattr(api.client, method)(url, body, "application/json", headers=headers)


def test_projects_members_and_validators_are_listed(
    alice: Api, victor: Api, people: Workflow
) -> None:
    projects, members, validators = (
        victor.get(f"{ORG}{kind}/").json()["results"]
        for kind in ("projects", "members", "validators")
    )

    assert [each["slug"] for each in projects] == ["homes"]
    assert [(each["email"], each["role"]) for each in members] == [
        ("alice@example.com", "author"),
        ("victor@example.com", "viewer"),
    ]
    assert validators[0]["engine"] == "json_schema"
    assert validators[0]["accepts"] == [{"extension": ".json", "mime_type": "application/json"}]


def test_validators_of_other_organisations_are_not_listed(
    victor: Api, acme: Organisation, people: Workflow
) -> None:
    for owner in (acme, OrganisationFactory.create()):
        ValidatorFactory.create(slug=f"own-{owner.slug}", organisation=owner)

    listed = victor.get(f"{ORG}validators/").json()["results"]

    assert [each["slug"] for each in listed if each["slug"].startswith("own-")] == ["own-acme"]


def test_submission_is_read_until_its_content_is_removed(alice: Api, people: Workflow) -> None:
    alice.launch(b"{}", "ada.json")
    listed = alice.get(f"{ORG}submissions/").json()["results"]
    path = f"{ORG}submissions/{listed[0]['id']}/"
    downloaded = asyncio.run(_read(alice.get(f"{path}files/0/")))
    Submission.objects.update(content_removed_at=timezone.now())

    assert [(each["filename"], each["size_bytes"]) for each in listed] == [("ada.json", 2)]
    assert downloaded == b"{}"
    assert alice.get(f"{path}files/1/").status_code == 404
    gone = alice.get(f"{path}files/0/")
    assert (gone.status_code, gone.json()["code"]) == (410, "CONTENT_REMOVED")
    assert alice.get(path).json()["content_removed_at"]


async def _read(answer: Any) -> bytes:
    return b"".join([chunk async for chunk in answer])


def test_submissions_of_others_are_not_found_by_viewer(
    alice: Api, victor: Api, people: Workflow
) -> None:
    submission = alice.launch(b"{}").json()["submission"]

    assert victor.get(f"{ORG}submissions/").json()["results"] == []
    assert victor.get(f"{ORG}submissions/{submission}/").status_code == 404


def test_webhook_is_created_changed_and_deleted(admin: Api) -> None:
    made = send(admin, "post", "webhooks/", HOOK)
    path = f"webhooks/{made.json()['id']}/"
    shown = admin.get(ORG + path)
    rotated = send(admin, "post", f"{path}secret/").json()
    changed = send(admin, "patch", path, {"name": "Talk", "is_active": False})
    deleted = send(admin, "delete", path)

    assert (made.status_code, made.headers["Location"]) == (201, f"/api/v1/{ORG}{path}")
    assert made.json() == shown.json() | {"secret": ANY}
    assert made.json()["secret"].startswith("whsec_")
    assert rotated["secret"] not in ("", made.json()["secret"])
    assert changed.json() == shown.json() | {"name": "Talk", "is_active": False}
    assert (deleted.status_code, Webhook.objects.count()) == (204, 0)


def test_outdated_change_of_webhook_is_refused(admin: Api) -> None:
    path = f"webhooks/{send(admin, 'post', 'webhooks/', HOOK).json()['id']}/"
    etag = admin.get(ORG + path).headers["ETag"]
    first = send(admin, "patch", path, {"name": "One"}, **{"If-Match": etag})
    second = send(admin, "patch", path, {"name": "Two"}, **{"If-Match": etag})
    last = send(admin, "delete", path, **{"If-Match": first.headers["ETag"]})

    assert [each.status_code for each in (first, second, last)] == [200, 412, 204]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "ftp://example.org"}, "url"),
        ({"events": []}, "events"),
        ({"events": ["run.lost"]}, "events.0"),
        ({"name": "\u202e"}, "name"),
        ({"colour": "red"}, "colour"),
        ({"style": None}, "style"),
    ],
)
def test_wrong_field_of_webhook_is_named(admin: Api, change: dict[str, Any], field: str) -> None:
    answer = send(admin, "post", "webhooks/", HOOK | change)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


def test_delivery_is_listed_and_sent_again(admin: Api, acme: Organisation) -> None:
    webhook = Webhook.objects.create(organisation=acme, name="Chat", url=HOOK["url"])
    sent = WebhookDelivery.of(webhook, "run.failed", {"run": "1"})
    sent.save()
    path = f"webhooks/{webhook.pk}/"
    again = send(admin, "post", f"{path}deliveries/{sent.pk}/resend/")
    listed = admin.get(f"{ORG}{path}deliveries/?count=true").json()

    assert (again.status_code, again.json()["document"]["data"]) == (202, {"run": "1"})
    assert listed["count"] == 2
    assert listed["results"][1]["id"] == str(sent.pk)
    assert send(admin, "post", f"{path}test/").json()["event"] == "webhook.test"


def test_key_is_shown_once_rotated_and_revoked(admin: Api) -> None:
    made = send(admin, "post", "keys/", KEY)
    token, pk = made.json()["token"], made.json()["id"]
    caller = api_keys.authenticate(token, organisation="acme")
    rotated = send(admin, "post", f"keys/{pk}/rotate/", {"overlap_days": 1}).json()
    revoked = send(admin, "post", f"keys/{rotated['id']}/revoke/").json()
    listed = admin.get(f"{ORG}keys/").json()["results"]

    assert made.status_code == 201
    assert caller
    assert caller.scope
    assert caller.scope.role == Role.EXECUTOR
    assert (rotated["name"], rotated["role"], rotated["is_valid"]) == ("CI", "executor", True)
    assert revoked["revoked_at"]
    assert [(each["id"], each["is_valid"]) for each in listed] == [
        (rotated["id"], False),
        (pk, True),
    ]
    assert not any("token" in each for each in listed)
    old = ApiKey.objects.get(pk=pk)
    assert old.expires_at < timezone.now() + dt.timedelta(days=2)


def test_key_cannot_make_key_that_opens_more(admin: Api) -> None:
    key = send(admin, "post", "keys/", KEY).json()["id"]
    ApiKey.objects.filter(user=User.objects.get(email="alice@example.com")).update(scopes="manage")
    answers = [
        send(admin, "post", "keys/", KEY | {"name": "Other"}),
        send(admin, "post", f"keys/{key}/rotate/", {}),
    ]

    assert [each.status_code for each in answers] == [403, 403]
    assert "has not the scope launch and read" in answers[0].json()["detail"]


def test_key_makes_no_service_key_that_lives_longer(admin: Api) -> None:
    key = send(admin, "post", "keys/", KEY).json()["id"]
    end = timezone.now() + dt.timedelta(days=3)
    ApiKey.objects.filter(user__email="alice@example.com").update(expires_at=end)
    send(admin, "post", "keys/", KEY | {"name": "Other"})
    send(admin, "post", f"keys/{key}/rotate/", {})

    made = ApiKey.objects.filter(pk__gt=key)
    assert made.count() == 2
    assert all(each.expires_at <= end + dt.timedelta(seconds=1) for each in made)


@pytest.mark.parametrize("change", [{"role": "owner"}, {"scopes": []}, {"lifetime_days": 400}])
def test_wrong_field_of_key_is_named(admin: Api, change: dict[str, Any]) -> None:
    answer = send(admin, "post", "keys/", KEY | change)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, *change)


def test_second_key_of_the_same_name_is_refused(admin: Api) -> None:
    send(admin, "post", "keys/", KEY)
    answer = send(admin, "post", "keys/", KEY)

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("There is a key CI already.")
