"""Notifications by API: the list, marking, and preferences."""

import json
from typing import Any
from uuid import uuid4

import pytest

from tests.unit.validibot.api.conftest import Api
from validibot.accounts.models import ApiKey, Organisation, User
from validibot.notifications.models import Notification
from validibot.workflows.models import Workflow

LIST = "users/me/notifications/"
PREFERENCES = "orgs/acme/notification-preferences/"


def notify(acme: Organisation, **fields: Any) -> Notification:
    user = User.objects.get(email="alice@example.com")
    values = {"channel": "list", "workflow": "people", "title": "a.json", "result": "FAIL"} | fields
    row: Notification = Notification.objects.create(
        user=user, organisation=acme, run=uuid4(), **values
    )
    return row


def change(api: Api, method: str, path: str, body: Any = None) -> Any:
    send = getattr(api.client, method)
    content = json.dumps(body or {})
    return send(f"/api/v1/{path}", content, "application/json", headers=api.headers)


def test_notifications_are_listed_and_marked(alice: Api, charlie: Api, acme: Organisation) -> None:
    old, new = notify(acme), notify(acme, result="PASS", change="fixed")
    notify(acme, channel="mail")

    listed = alice.get(LIST).json()["results"]
    marked = [
        change(alice, "post", f"{LIST}read/", body).json()["marked"]
        for body in ({"ids": [old.pk, 10**9]}, {}, {})
    ]
    assert [(each["id"], each["change"]) for each in listed] == [(new.pk, "fixed"), (old.pk, "")]
    assert listed[0]["url"].endswith(f"/app/orgs/acme/runs/{new.run}/")
    assert marked == [1, 1, 0]
    assert alice.get(f"{LIST}?unread=true").json()["results"] == []
    assert charlie.get(LIST).json()["results"] == []


def test_preference_is_saved_replaced_and_removed(alice: Api, people: Workflow) -> None:
    wanted = {"workflow": "people", "occasion": "always", "mail": "daily"}
    for coverage in ("own", "all"):
        saved = change(alice, "put", PREFERENCES, wanted | {"coverage": coverage}).json()
    listed = alice.get(PREFERENCES).json()["results"]
    removed = change(alice, "delete", f"{PREFERENCES}?workflow=people")
    again = change(alice, "delete", f"{PREFERENCES}?workflow=people")

    assert listed == [saved] == [wanted | {"coverage": "all", "in_list": True}]
    assert (removed.status_code, removed.json(), again.status_code) == (200, {"results": []}, 404)


@pytest.mark.parametrize(
    ("field", "value"),
    [("workflow", "nothing"), ("workflow", "a\0"), ("occasion", "sometimes"), ("colour", "red")],
    ids=["unknown workflow", "NUL", "occasion", "unknown field"],
)
def test_wrong_field_of_preference_is_named(
    alice: Api, people: Workflow, field: str, value: str
) -> None:
    answer = change(alice, "put", PREFERENCES, {field: value})

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


def test_lowered_preference_drops_what_waits_for_a_digest(
    alice: Api, acme: Organisation, people: Workflow
) -> None:
    waits = {"channel": "mail", "rhythm": "daily"}
    for result in ("PASS", "FAIL"):
        notify(acme, result=result, **waits)
    other = notify(acme, preference="people", **waits)

    change(alice, "put", PREFERENCES, {"occasion": "failures", "mail": "daily"})
    left = list(Notification.objects.filter(preference="").values_list("result", flat=True))
    change(alice, "put", PREFERENCES, {"mail": "none"})

    assert left == ["FAIL"]
    assert Notification.objects.get() == other


def test_preference_for_a_workflow_drops_what_waits_by_that_of_all(
    alice: Api, acme: Organisation, people: Workflow
) -> None:
    waits = {"channel": "mail", "rhythm": "daily"}
    notify(acme, **waits)
    other = notify(acme, workflow="other", **waits)

    change(alice, "put", PREFERENCES, {"workflow": "people", "mail": "none"})

    assert Notification.objects.get() == other


def test_key_needs_its_scope_and_a_person(alice: Api, acme: Organisation) -> None:
    ApiKey.objects.update(scopes="launch")
    assert alice.get(LIST).status_code == 403
    ApiKey.objects.update(scopes="read")
    refused = [
        change(alice, "post", f"{LIST}read/"),
        change(alice, "put", PREFERENCES),
        change(alice, "delete", PREFERENCES),
    ]
    User.objects.update(service_of=acme)

    assert [each.status_code for each in (*refused, alice.get(LIST))] == [403] * 4
