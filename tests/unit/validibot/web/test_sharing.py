"""Links that show a run to people without an account."""

import datetime as dt
import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.factories import (
    FindingFactory,
    MembershipFactory,
    RunFactory,
    StepFactory,
    StepRunFactory,
)
from validibot.accounts.models import Role
from validibot.runs.models import Finding, Run, RunShare
from validibot.runs.sharing import MAX_SHARES

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(client: Client) -> Run:
    """A failed run of the user who is signed in."""
    member = MembershipFactory.create(role=Role.EXECUTOR)
    client.force_login(member.user)
    step = StepFactory.create(workflow__organisation=member.organisation, order=1)
    run = RunFactory.create(
        workflow=step.workflow,
        user=member.user,
        status="FAILED",
        error_category="VALIDATION_FAILED",
    )
    step_run = StepRunFactory.create(run=run, step=step, status="FAILED")
    for line in range(1, 8):
        FindingFactory.create(step_run=step_run, message=f"Reading {line}.", line=line)
    return run


def at(run: Run, path: str = "") -> str:
    return f"/app/orgs/{run.organisation.slug}/runs/{run.pk}/shares/{path}"


def made_link(client: Client, run: Run, days: str = "7") -> str:
    """Make a link and return its path."""
    page = client.post(at(run), {"days": days}).content.decode()
    found = re.search(r"https?://[^/]+(/shared/[\w-]{43}/)", page)
    assert found
    return found[1]


def test_link_shows_the_run_and_nothing_else(client: Client, run: Run) -> None:
    answer = Client().get(made_link(client, run))

    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Reading 1." in page
    assert "7 errors" in page
    assert "/app/orgs/" not in page
    assert run.organisation.name not in page
    assert run.user is not None
    assert run.user.email not in page
    assert answer.headers["X-Robots-Tag"].startswith("noindex")
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert "no-store" in answer.headers["Cache-Control"]


def test_visits_are_counted_and_token_is_not_stored(client: Client, run: Run) -> None:
    link = made_link(client, run)
    Client().get(link)

    (share,) = RunShare.objects.all()
    assert (share.opened, share.last_opened_at is not None) == (1, True)
    assert share.token_digest not in link
    assert link not in client.get(at(run)).content.decode()


def test_link_hides_storage_addresses_and_errors(
    client: Client, run: Run, settings: Settings
) -> None:
    address = f"{settings.DATA_ROOT}/organisations/7/runs/output.json"
    step = run.steps.get()
    finding = Finding.objects.filter(message="Reading 1.")
    finding.update(message=f"{address} is damaged.", path=address)
    FindingFactory.create(step_run=step, code="problems.truncated", message=f"More in {address}.")
    Run.objects.update(error_category="SYSTEM_ERROR", error=f"No object {address} of ada@e.org.")
    run.steps.update(error=f"No object {address}.")

    page = Client().get(made_link(client, run)).content.decode()

    assert "… is damaged." in page
    assert "could not be finished" in page
    assert settings.DATA_ROOT not in page
    assert "No object" not in page
    assert address in client.get(at(run)[: -len("shares/")]).content.decode()


def _revoke(client: Client, run: Run) -> None:
    client.post(at(run, f"{RunShare.objects.get().pk}/revoke/"))


def _expire(client: Client, run: Run) -> None:
    RunShare.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))


def _close_organisation(client: Client, run: Run) -> None:
    run.organisation.deletion_requested_at = timezone.now()
    run.organisation.save()


def _leave(client: Client, run: Run) -> None:
    run.organisation.memberships.all().delete()


@pytest.mark.parametrize("end", [_revoke, _expire, _close_organisation, _leave])
def test_ended_link_shows_nothing(client: Client, run: Run, end: Any) -> None:
    link = made_link(client, run)

    end(client, run)
    answer = Client().get(link)

    assert answer.status_code == 404
    assert "This link shows nothing" in answer.content.decode()
    assert RunShare.objects.get().opened == 0


@pytest.mark.parametrize("days", ["", "8", "9" * 5000])
def test_unknown_lifetime_is_refused(client: Client, run: Run, days: str) -> None:
    assert client.post(at(run), {"days": days}).status_code == 422
    assert not RunShare.objects.exists()


def test_number_of_working_links_is_limited(client: Client, run: Run) -> None:
    expires = timezone.now() + dt.timedelta(days=1)
    for number in range(MAX_SHARES):
        run.shares.create(token_digest=str(number), created_by=run.user, expires_at=expires)

    answer = client.post(at(run), {"days": "7"})

    assert answer.status_code == 422
    assert "Revoke one of them first." in answer.content.decode()


def test_viewer_of_results_may_not_share(client: Client, run: Run) -> None:
    viewer = MembershipFactory.create(organisation=run.organisation, role=Role.RESULTS_VIEWER)
    client.force_login(viewer.user)

    assert client.post(at(run), {"days": "7"}).status_code == 403
    assert 'href="' + at(run) not in client.get(at(run)[: -len("shares/")]).content.decode()
