"""Pages of the schedules of a workflow."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.factories import MembershipFactory, RunFactory, StepFactory
from validibot.accounts.models import Role
from validibot.workflows.models import Workflow, WorkflowSchedule

pytestmark = pytest.mark.django_db
FIELDS = {"name": "Nightly", "cron": "30 2 * * *", "time_zone": "Europe/Zurich"}
INPUTS = '{"type": "object", "required": ["phase"], "properties": {"phase": {"type": "string"}}}'


@pytest.fixture
def workflow(client: Client) -> Workflow:
    member = MembershipFactory.create(role=Role.AUTHOR)
    client.force_login(member.user)
    made: Workflow = StepFactory.create(
        workflow__organisation=member.organisation,
        workflow__author=member.user,
        workflow__input_schema=INPUTS,
    ).workflow
    return made


def base(workflow: Workflow) -> str:
    return f"/app/orgs/{workflow.organisation.slug}/workflows/{workflow.slug}/schedules/"


def sent(client: Client, address: str, **fields: Any) -> Any:
    return client.post(address, FIELDS | {"input-phase": "final"} | fields)


def test_author_creates_changes_pauses_and_deletes_a_schedule(
    client: Client, workflow: Workflow
) -> None:
    url = base(workflow)
    page = sent(client, url, file=SimpleUploadedFile("a.json", b"{}")).headers["Location"]
    made = WorkflowSchedule.objects.get()
    RunFactory.create(workflow=workflow, schedule=made, source="SCHEDULE")
    assert (made.filename, made.metadata) == ("a.json", {"phase": "final"})
    assert "At 02:30 every day" in client.get(page).content.decode()
    assert 'value="final"' in client.get(page).content.decode()

    sent(client, page, cron="0 3 * * *", url="https://example.org/a.json")
    changed = WorkflowSchedule.objects.get()
    assert (changed.cron, changed.url, changed.filename) == (
        "0 3 * * *",
        "https://example.org/a.json",
        "",
    )

    client.post(f"{page}switch/", {"state": "pause"})
    assert "paused" in client.get(url).content.decode()
    client.post(f"{page}switch/", {"state": "resume"})
    assert not WorkflowSchedule.objects.get().is_paused
    client.post(f"{page}delete/")
    assert not WorkflowSchedule.objects.exists()
    assert workflow.runs.count() == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cron": "soon"}, "has not five fields"),
        ({"time_zone": "Mars"}, "Select a valid choice"),
        ({}, "Give the address of a file, or choose one."),
        ({"url": "http://169.254.169.254/"}, "must be an address that begins with https://"),
        ({"url": "https://example.org/a", "input-phase": ""}, "required"),
        ({"file": SimpleUploadedFile("a.json", b"")}, "empty"),
        ({"file": SimpleUploadedFile(".env", b"x")}, "cannot be used"),
    ],
)
def test_unusable_schedule_is_refused_with_what_was_typed(
    client: Client, workflow: Workflow, fields: dict[str, Any], message: str
) -> None:
    answer = sent(client, base(workflow), **fields)

    assert (answer.status_code, message in answer.content.decode()) == (422, True)
    assert 'value="Nightly"' in answer.content.decode()
    assert not WorkflowSchedule.objects.exists()
