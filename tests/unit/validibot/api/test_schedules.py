"""The API of schedules."""

from typing import Any

import pytest

from tests.unit.validibot.api.conftest import Api
from validibot.runs.models import Run
from validibot.workflows.models import Workflow, WorkflowSchedule

BODY = {"name": "Nightly", "cron": "30 2 * * *", "time_zone": "Europe/Zurich"}
KEPT = {"name": "a.json", "base64": "e30="}


@pytest.fixture
def place(people: Workflow) -> str:
    return f"/api/v1/orgs/acme/workflows/{people.slug}/schedules/"


def send(api: Api, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Send a JSON body."""
    headers = api.headers | headers
    return getattr(api.client, method)(path, body, "application/json", headers=headers)


def test_schedule_is_created_changed_run_paused_and_deleted(alice: Api, place: str) -> None:
    made = send(alice, "post", place, BODY | {"file": KEPT, "metadata": {"phase": "final"}})
    one, document = made.headers["Location"], made.json()
    assert (made.status_code, document["filename"], document["size_bytes"]) == (201, "a.json", 2)

    ran = send(alice, "post", f"{one}run/")
    assert (ran.status_code, Run.objects.get().source) == (202, "SCHEDULE")
    etag = alice.client.get(one, headers=alice.headers).headers["ETag"]
    url = "https://example.org/a.json"
    changed = send(alice, "patch", one, {"url": url}, **{"If-Match": etag}).json()
    assert (changed["url"], changed["filename"], changed["cron"]) == (url, "", "30 2 * * *")
    assert send(alice, "patch", one, {"name": "B"}, **{"If-Match": etag}).status_code == 412

    paused = send(alice, "patch", one, {"is_paused": True}).json()
    assert (paused["is_paused"], paused["next_at"]) == (True, None)
    assert send(alice, "post", f"{one}run/").json()["code"] == "SCHEDULE_PAUSED"
    assert send(alice, "patch", one, {"is_paused": False, "file": KEPT}).json()["next_at"]
    listed = alice.client.get(place, headers=alice.headers).json()["results"]
    assert [(each["id"], each["filename"]) for each in listed] == [(document["id"], "a.json")]
    assert send(alice, "delete", one).status_code == 204
    assert alice.client.get(one, headers=alice.headers).status_code == 404


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "url"),
        ({"url": "http://169.254.169.254/"}, "url"),
        ({"url": "https://example.org/a", "file": KEPT}, "url"),
        ({"file": KEPT | {"base64": "no base64"}}, "file"),
        ({"file": KEPT | {"base64": ""}}, "file"),
        ({"file": KEPT | {"name": "../a.json"}}, "file.name"),
        ({"file": KEPT, "cron": "soon"}, "cron"),
        ({"file": KEPT, "cron": "0 0 \0 * *"}, "cron"),
        ({"file": KEPT, "time_zone": "Mars"}, "time_zone"),
        ({"file": KEPT, "metadata": {"a": "\0"}}, "metadata"),
        ({"file": KEPT, "metadata": {"a": 1}}, "metadata.a"),
        ({"file": KEPT, "when": "soon"}, "when"),
    ],
)
def test_unusable_schedule_is_refused_by_field(
    alice: Api, place: str, fields: dict[str, Any], field: str
) -> None:
    answer = send(alice, "post", place, BODY | fields)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)
    assert not WorkflowSchedule.objects.exists()
