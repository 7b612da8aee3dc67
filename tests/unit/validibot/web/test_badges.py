"""Badges: a public image of a workflow's last result."""

import html
import re

import pytest
from django.test import Client

from tests.factories import MembershipFactory, RunFactory, StepFactory, WorkflowFactory
from validibot.accounts.models import AuditEntry, Role
from validibot.workflows import badges, editing
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db


@pytest.fixture
def workflow() -> Workflow:
    member = MembershipFactory.create(role=Role.AUTHOR)
    made: Workflow = StepFactory.create(
        workflow__organisation=member.organisation,
        workflow__author=member.user,
        workflow__name="Fire & <Safety>",
    ).workflow
    return made


def address(workflow: Workflow) -> str:
    assert workflow.author
    return f"/badges/{badges.create(workflow, user=workflow.author).token}/badge.svg"


def title(client: Client, url: str) -> str:
    shown = re.findall("<title>(.*)</title>", client.get(url).content.decode())
    return html.unescape(shown[0])


@pytest.mark.parametrize(
    ("status", "category", "word"),
    [
        ("SUCCEEDED", "", "passing"),
        ("FAILED", "VALIDATION_FAILED", "failing"),
        ("FAILED", "RUNTIME_ERROR", "error"),
        ("TIMED_OUT", "TIMEOUT", "timed out"),
        ("CANCELED", "", "no runs"),
        ("RUNNING", "", "no runs"),
    ],
)
def test_badge_shows_result_of_last_run(
    client: Client, workflow: Workflow, status: str, category: str, word: str
) -> None:
    RunFactory.create(workflow=workflow, status=status, error_category=category)

    assert title(client, address(workflow)) == f"Fire & <Safety>: {word}"


def test_newest_run_of_all_versions_counts_without_trials(
    client: Client, workflow: Workflow
) -> None:
    newer = WorkflowFactory.create(
        organisation=workflow.organisation, slug=workflow.slug, version=2, name=workflow.name
    )
    RunFactory.create(workflow=newer, status="FAILED")
    RunFactory.create(workflow=workflow, status="SUCCEEDED")
    RunFactory.create(workflow=newer, status="FAILED", source="TRIAL")

    assert "passing" in title(client, address(workflow))


def test_badge_is_cached_shortly_and_known_by_its_etag(client: Client, workflow: Workflow) -> None:
    url = address(workflow)
    answer = client.get(url)
    again = client.get(url, headers={"If-None-Match": answer.headers["ETag"]})

    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    assert (again.status_code, again.content) == (304, b"")
    RunFactory.create(workflow=workflow, status="FAILED")
    assert client.get(url, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 200


def test_author_creates_and_ends_a_badge(client: Client, workflow: Workflow) -> None:
    assert workflow.author
    client.force_login(workflow.author)
    page = f"/app/orgs/{workflow.organisation.slug}/workflows/{workflow.slug}/"
    client.post(f"{page}sharing/badge/", {"badge": "on"})
    client.post(f"{page}sharing/badge/", {"badge": "on"})
    badge = badges.badge_of(workflow)
    assert badge
    url = f"/badges/{badge.token}/badge.svg"

    assert f"{url})](http" in client.get(page).content.decode()
    assert url in client.get(f"{page}sharing/").content.decode()
    client.post(f"{page}sharing/badge/", {"badge": "off"})
    assert client.get(url).status_code == 404
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == [
        "workflow.badge_created",
        "workflow.badge_removed",
    ]


def test_deleted_workflow_has_no_badge(client: Client, workflow: Workflow) -> None:
    url = address(workflow)
    editing.delete(workflow)

    assert client.get(url).status_code == 404
