"""Tracking events: written by services, exported, purged, and without personal data."""

import csv
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from tests.factories import MembershipFactory, StepFactory, launched
from validibot.accounts.models import Membership, Role, User
from validibot.accounts.scope import Scope
from validibot.accounts.workspaces import create_organisation
from validibot.tracking.events import purge_events, track
from validibot.tracking.models import EventName, TrackingEvent
from validibot.webhooks import editing as webhooks
from validibot.workflows import editing

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> Membership:
    return MembershipFactory.create(role=Role.OWNER)


def test_services_write_events_without_personal_data(owner: Membership) -> None:
    user = owner.user
    organisation = create_organisation(user, "Secret Homes")
    scope = Scope.of_member(user, organisation, Role.OWNER)
    webhooks.create(scope, name="Chat", url="https://a.example.org", events=[], style="slack")
    made = editing.create(organisation, author=user, slug="office", name="Secret office")
    editing.clone(made, author=user)
    launched(StepFactory.create(workflow=made), user=user)

    events = TrackingEvent.objects.order_by("pk")
    assert [(each.name, each.extra) for each in events] == [
        ("organisation.created", {}),
        ("webhook.created", {"style": "slack"}),
        ("workflow.created", {"source": "editor"}),
        ("workflow.created", {"source": "copy"}),
        ("run.launched", {"source": "API", "steps": 1}),
    ]
    assert {(each.actor_id, each.organisation_id) for each in events} == {
        (user.pk, organisation.pk)
    }


def test_sign_up_is_an_event(client: Client) -> None:
    password = {"password1": "s3cret-long", "password2": "s3cret-long"}
    for _ in range(2):  # the second one is for a known address
        client.post("/accounts/signup/", {"email": "eve@example.org", **password})

    event = TrackingEvent.objects.get()
    assert (event.name, event.extra) == ("account.signed_up", {"method": "form"})
    assert event.actor_id == User.objects.get(email="eve@example.org").pk


def test_deleted_account_leaves_an_event_without_actor(owner: Membership) -> None:
    track(EventName.RUN_LAUNCHED, actor=owner.user_id, organisation=owner.organisation_id)
    owner.user.delete()
    assert TrackingEvent.objects.get().actor_id is None

    owner.organisation.delete()

    assert not TrackingEvent.objects.exists()


def exported(path: Path, capsys: Any, *options: str) -> Any:
    call_command("export_events", str(path), "--json", *options)
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_command_exports_chosen_events(
    owner: Membership, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("validibot.tracking.events.BATCH", 2)
    for _ in range(5):
        track(EventName.RUN_LAUNCHED, actor=owner.user_id, source="API")
    track(EventName.SIGNED_UP)
    path = tmp_path / f"events.{kind}"

    told = exported(path, capsys, "--name", "run.launched", "--after", "2020-01-01")

    assert told == {"file": str(path), "events": 5}
    if kind == "csv":
        rows: list[dict[str, Any]] = list(csv.DictReader(path.read_text().splitlines()))
        assert json.loads(rows[0]["extra"]) == {"source": "API"}
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert (rows[0]["actor"], rows[0]["organisation"]) == (owner.user_id, None)
    assert [row["name"] for row in rows] == ["run.launched"] * 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["events.txt"], "must end with .csv or .jsonl"),
        (["/no/such/folder/events.csv"], "cannot be written: No such file"),
        (["events.csv", "--after", "yesterday"], "'yesterday' is no date"),
        (["events.csv", "--name", "x"], "invalid choice"),
    ],
)
def test_unusable_argument_is_explained(arguments: list[str], told: str) -> None:
    with pytest.raises(CommandError, match=told):
        call_command("export_events", *arguments)


def test_admin_lists_and_exports_events(client: Client, owner: Membership) -> None:
    client.force_login(User.objects.create_superuser("root@example.com"))
    track(EventName.RUN_LAUNCHED, organisation=owner.organisation_id)
    path = "/admin/tracking/trackingevent/"
    chosen = {"action": "export_csv", "_selected_action": TrackingEvent.objects.get().pk}

    listed = client.get(path).content.decode()
    answer = client.post(path, chosen)

    assert "run.launched" in listed or "A run was started" in listed
    assert answer.headers["Content-Disposition"].endswith("events.csv")
    assert client.get(f"{path}add/").status_code == 403


def test_old_events_are_purged() -> None:
    track(EventName.SIGNED_UP)
    TrackingEvent.objects.update(at=timezone.now() - dt.timedelta(days=500))
    track(EventName.SIGNED_UP)

    assert purge_events(timezone.now() - dt.timedelta(days=400)) == 1
    assert TrackingEvent.objects.count() == 1
