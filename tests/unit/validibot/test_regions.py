"""Data regions: no deployment shows or uses anything of an organisation of another region.

Each stage has its own database. The tests are stricter: the rows of region A lie in the database of
region B, as after a wrong restore, and B has secrets of its own, as every stage has.
"""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client, override_settings
from pytest_django import Settings

from tests.factories import AttemptFactory, MembershipFactory, RunFactory, StepFactory
from validibot.accounts import api_keys
from validibot.accounts.models import Organisation, Role
from validibot.accounts.scope import organisations_of
from validibot.accounts.workspaces import set_data_region
from validibot.runs import callback, sharing
from validibot.runs.access import NotAdmitted, check_organisation
from validibot.runs.launch import nonce_digest
from validibot.runs.models import Run
from validibot.workflows import badges, links
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db

REGIONS = {"eu": "European Union", "us": "United States"}
SITES = {"eu": "https://eu.validibot.example"}
PAGE = "/app/orgs/acme/runs/?status=FAILED"
RUNS = "/api/v1/orgs/acme/runs/"


class RegionWorld:
    """An organisation of region A with a run, and everything that opens some of it."""

    def __init__(self) -> None:
        member = MembershipFactory.create(
            role=Role.OWNER, organisation__name="Acme", organisation__slug="acme"
        )
        self.user, self.organisation = member.user, member.organisation
        self.workflow: Workflow = StepFactory.create(
            workflow__organisation=self.organisation, workflow__author=self.user
        ).workflow
        self.run: Run = RunFactory.create(workflow=self.workflow, status="SUCCEEDED")
        _, self.key = api_keys.issue(self.user, "CI")
        day = dt.timedelta(days=1)
        self.link, token = links.create(
            self.workflow, user=self.user, name="Suppliers", lifetime=day, max_launches=5
        )
        result = f"/launch/{token}/runs/{links.sign_run(self.link, self.run.pk)}/"
        share = sharing.share(self.run, user=self.user, lifetime=day)
        badge = badges.create(self.workflow, user=self.user).token
        self.links = [f"/launch/{token}/", result, f"/shared/{share}/"]
        self.badge = f"/badges/{badge}/badge.svg"
        self.browser = Client()
        self.browser.force_login(self.user)

    def api(self, path: str = RUNS) -> Any:
        return Client().get(path, headers={"Authorization": f"Bearer {self.key}"})


@pytest.fixture
def world(settings: Settings) -> RegionWorld:
    settings.DATA_REGIONS, settings.DATA_REGION_SITES = REGIONS, SITES
    settings.DATA_REGION = settings.DEFAULT_DATA_REGION = "eu"
    return RegionWorld()


@pytest.fixture
def _elsewhere(world: RegionWorld, settings: Settings) -> None:
    """The deployment of region B, which has the secrets of A: only the region differs."""
    settings.DATA_REGION = settings.DEFAULT_DATA_REGION = "us"


@pytest.fixture
def _other_secrets(world: RegionWorld) -> Iterator[None]:
    """The deployment of region B, whose secrets differ; the rows claim its own region."""
    Organisation.objects.update(data_region="us")
    with override_settings(DATA_REGION="us", SECRET_KEY="b" * 60, API_KEY_PEPPER="b" * 60):
        yield


def test_own_region_serves_everything(world: RegionWorld) -> None:
    assert world.organisation.data_region == "eu"
    assert world.api().status_code == 200
    assert world.browser.get(PAGE).status_code == 200
    assert [Client().get(each).status_code for each in (*world.links, world.badge)] == [200] * 4


@pytest.mark.usefixtures("_elsewhere")
def test_other_region_refuses_api_and_leads_pages_to_their_site(world: RegionWorld) -> None:
    refused = world.api()
    page = world.browser.get(PAGE)
    posted = world.browser.post(f"/app/orgs/acme/runs/{world.run.pk}/cancel/")

    assert (refused.status_code, refused.json()["code"]) == (421, "ORGANISATION_ELSEWHERE")
    assert "another region (European Union)" in refused.json()["detail"]
    assert refused.headers["Location"] == f"{SITES['eu']}{RUNS}"
    assert (page.status_code, page.headers["Location"]) == (302, SITES["eu"] + PAGE)
    assert posted.status_code == 421


@pytest.mark.usefixtures("_elsewhere")
def test_other_region_without_known_site_says_so(world: RegionWorld, settings: Settings) -> None:
    settings.DATA_REGION_SITES = {}
    page = world.browser.get(PAGE, headers={"Accept": "text/html"})

    assert page.status_code == 421
    assert "Ask its owner for the address there." in page.content.decode()
    assert "Location" not in world.api().headers


@pytest.mark.usefixtures("_elsewhere")
def test_site_that_names_itself_does_not_redirect(world: RegionWorld, settings: Settings) -> None:
    settings.DATA_REGION_SITES = {"eu": f"{settings.SITE_URL}/"}

    assert world.browser.get(PAGE).status_code == 421
    assert "Location" not in world.api().headers


@pytest.mark.usefixtures("_elsewhere")
def test_other_region_answers_non_members_as_for_unknown(world: RegionWorld) -> None:
    other = MembershipFactory.create(organisation__data_region="us")
    _, key = api_keys.issue(other.user, "CI")
    browser = Client()
    browser.force_login(other.user)

    answer = browser.get(RUNS, headers={"Authorization": f"Bearer {key}"})

    assert (answer.status_code, browser.get(PAGE).status_code) == (404, 404)
    assert Client().get(PAGE).headers["Location"].startswith("/accounts/login/")


@pytest.mark.usefixtures("_elsewhere")
def test_other_region_opens_no_link_and_lists_no_organisation(world: RegionWorld) -> None:
    opened = [Client().get(each).status_code for each in (*world.links, world.badge)]

    assert opened == [404] * 4
    assert list(organisations_of(world.user)) == []
    settings_page = world.browser.get("/app/users/notifications/settings/").content.decode()
    assert "No organisation" in settings_page
    assert world.api("/api/v1/orgs/").json()["results"] == []
    with pytest.raises(NotAdmitted, match="another region"):
        check_organisation(world.organisation)


@pytest.mark.usefixtures("_other_secrets")
def test_keys_sessions_and_links_of_one_stage_are_refused_by_another(world: RegionWorld) -> None:
    assert world.api().status_code == 401
    assert "/accounts/login/" in world.browser.get(PAGE).headers["Location"]
    assert [Client().get(each).status_code for each in world.links] == [404] * 3


def test_callback_of_one_stage_is_refused_by_another(world: RegionWorld) -> None:
    attempt = AttemptFactory.create(nonce_digest=nonce_digest("secret"))
    told = {"run_id": str(attempt.step_run.run_id), "callback_nonce": "secret"}
    body = json.dumps(told | {"callback_id": f"execution-attempt-{attempt.pk}"}).encode()

    with override_settings(SECRET_KEY="b" * 60):
        status, answer = callback.renew_capability(body)

    assert (status, answer["detail"]) == (403, "The callback_nonce is wrong.")


def test_region_of_another_site_cannot_be_chosen(world: RegionWorld) -> None:
    Run.objects.all().delete()

    with pytest.raises(ValidationError, match="Choose one of: eu"):
        set_data_region(world.organisation, "us")
