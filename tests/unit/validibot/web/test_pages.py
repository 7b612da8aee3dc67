"""Content of the pages: navigation, verdicts, findings and error pages."""

from typing import Any
from unittest.mock import Mock

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import Client
from pytest_django import Settings

from tests.factories import (
    FindingFactory,
    MembershipFactory,
    OrganisationFactory,
    RunFactory,
    StepFactory,
    StepRunFactory,
    UserFactory,
)
from validibot.accounts.models import Membership
from validibot.core.storage import StorageError
from validibot.runs.models import Run, StepRun
from validibot.runs.rules import as_rows
from validibot.submissions import content
from validibot.web.scope import MAX_ORGANISATIONS

pytestmark = pytest.mark.django_db
BROWSER = {"Accept": "text/html"}


@pytest.fixture
def member(client: Client) -> Membership:
    """A member of two organisations, signed in to `client`."""
    membership = MembershipFactory.create()
    MembershipFactory.create(user=membership.user)
    client.force_login(membership.user)
    return membership


def _failed_run(member: Membership, findings: int) -> StepRun:
    step = StepFactory.create(workflow__organisation=member.organisation, name="Targets", order=1)
    run = RunFactory.create(
        workflow=step.workflow,
        user=member.user,
        status="FAILED",
        error_category="VALIDATION_FAILED",
    )
    step_run = StepRunFactory.create(run=run, step=step, status="FAILED")
    FindingFactory.create(step_run=step_run, severity="WARNING", message="A warning.")
    for number in range(findings):
        FindingFactory.create(step_run=step_run, message=f"Reading {number} is too high.")
    return step_run


def _page(client: Client, run: Run, path: str = "") -> str:
    answer = client.get(f"/app/orgs/{run.organisation.slug}/runs/{run.pk}/{path}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_failed_run_names_its_step_and_first_error(client: Client, member: Membership) -> None:
    step_run = _failed_run(member, findings=2)

    page = _page(client, step_run.run)

    assert '<a href="#step-1">Step 1 Targets</a>: Reading 0 is too high.' in page
    assert 'id="step-1"' in page


def test_all_findings_are_counted_and_reachable(client: Client, member: Membership) -> None:
    step_run = _failed_run(member, findings=130)

    page = _page(client, step_run.run)
    first = _page(client, step_run.run, "steps/1/findings/")
    second = _page(client, step_run.run, "steps/1/findings/?page=2")

    assert "130 errors" in page
    assert "All 131 findings of this step" in page
    assert "Reading 4 is too high." in page
    assert "Reading 5 is too high." not in page
    assert "131 findings" in first
    assert "Reading 99 is too high." in first
    assert "Reading 99 is too high." not in second
    assert second.index("Reading 100 is too high.") < second.index("Reading 129 is too high.")
    assert "A warning." in second


def test_note_about_omitted_problems_is_shown_first(client: Client, member: Membership) -> None:
    step_run = _failed_run(member, findings=100)
    FindingFactory.create(
        step_run=step_run, severity="INFO", code="problems.truncated", message="9,000 in all."
    )

    page = _page(client, step_run.run)

    assert page.index("9,000 in all.") < page.index("Reading 4 is too high.")


def test_summary_of_step_shows_and_counts_its_rules(client: Client, member: Membership) -> None:
    step_run = _failed_run(member, findings=2)
    step_run.rules = [
        *as_rows(step_run.findings.all()),
        {"severity": "ERROR", "code": None, "assertion": None, "count": 70_000, "first": []},
    ]
    step_run.save()

    page = _page(client, step_run.run)

    assert "70,002 errors, 1 warning" in page
    assert "70000 findings of further rules" in page
    assert "3 findings" in _page(client, step_run.run, "steps/1/findings/")


@pytest.mark.parametrize("path", ["steps/2/findings/", f"steps/{'9' * 5000}/findings/"])
def test_findings_of_a_missing_step_are_not_found(
    client: Client, member: Membership, path: str
) -> None:
    run = _failed_run(member, findings=1).run

    answer = client.get(f"/app/orgs/{run.organisation.slug}/runs/{run.pk}/{path}")

    assert answer.status_code == 404


@pytest.mark.parametrize("path", ["/app/users/api-key/", "/accounts/email/", "/nowhere/"])
def test_navigation_keeps_the_last_organisation(
    client: Client, member: Membership, path: str
) -> None:
    other = member.user.organisations.exclude(pk=member.organisation_id).get()
    client.get(f"/app/orgs/{other.slug}/workflows/")

    page = client.get(path, headers=BROWSER).content.decode()

    for part in ("runs", "dashboard", "validators", "settings"):
        assert f'href="/app/orgs/{other.slug}/{part}/"' in page
    assert f'href="/app/orgs/{member.organisation.slug}/workflows/"' in page


def test_navigation_lists_only_own_organisations_of_a_superuser(client: Client) -> None:
    superuser = UserFactory.create(is_superuser=True)
    for _ in range(MAX_ORGANISATIONS + 5):
        MembershipFactory.create(user=superuser)
    foreign = OrganisationFactory.create(name="Somebody's workspace")
    client.force_login(superuser)

    page = client.get("/app/users/api-key/").content.decode()

    assert foreign.name not in page
    assert page.count('/workflows/"') == MAX_ORGANISATIONS + 1


def test_sign_in_page_leads_to_password_reset(client: Client) -> None:
    page = client.get("/accounts/login/").content.decode()

    assert "/accounts/password/reset/" in page


def _launch(client: Client, member: Membership) -> Any:
    step = StepFactory.create(
        workflow__organisation=member.organisation,
        validator__accepts=[{"extension": ".json", "mime_type": "application/json"}],
    )
    document = SimpleUploadedFile("a.json", b'{"name": "' + b"x" * content.INLINE_BYTES + b'"}')
    return client.post(
        f"/app/orgs/{member.organisation.slug}/workflows/{step.workflow.slug}/",
        {"file": document},
        headers=BROWSER,
    )


def test_launch_without_storage_shows_a_503_page(
    client: Client, member: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validibot.submissions.content.get_storage", Mock(side_effect=StorageError))

    answer = _launch(client, member)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "The file storage cannot be reached. Try again" in answer.content.decode()


def test_page_without_database_shows_a_503_page(
    client: Client, member: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Mock(side_effect=OperationalError("the server is gone"))
    monkeypatch.setattr("validibot.web.scope.scope_of", gone)

    answer = client.get(f"/app/orgs/{member.organisation.slug}/runs/", headers=BROWSER)

    assert answer.status_code == 503
    assert "Temporarily unavailable" in answer.content.decode()


def test_launch_over_quota_shows_page_with_reason(
    client: Client, member: Membership, settings: Settings
) -> None:
    settings.LAUNCH_QUOTA = 1
    Membership.objects.update(role="owner")
    step = StepFactory.create(workflow__organisation=member.organisation)
    RunFactory.create(workflow=step.workflow, status="RUNNING")
    accepted = step.validator.accepts[0]["extension"] if step.validator.accepts else ".json"
    path = f"/app/orgs/{member.organisation.slug}/workflows/{step.workflow.slug}/"

    answer = client.post(path, {"file": SimpleUploadedFile(f"a{accepted}", b"{}")})

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
    assert "unfinished runs" in answer.content.decode()
