"""The dashboard: its page, its CSV, and its figures by API."""

import datetime as dt

import pytest
import time_machine
from django.test import Client

from tests.factories import RunFactory, StepFactory, StepRunFactory
from validibot.accounts.models import Membership
from validibot.dashboards.counting import count_days
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db
NOON = dt.datetime(2026, 3, 10, 12, tzinfo=dt.UTC)


@pytest.fixture
def workflow(member: Membership) -> Workflow:
    """A workflow with a run that passed on 10 March 2026, counted."""
    step = StepFactory.create(workflow__organisation=member.organisation, workflow__slug="checks")
    run = RunFactory.create(
        workflow=step.workflow, status="SUCCEEDED", started_at=NOON, ended_at=NOON
    )
    StepRunFactory.create(
        run=run, step=step, status="PASSED", started_at=NOON, ended_at=NOON, rules=[]
    )
    with time_machine.travel(NOON, tick=False):
        count_days()
    return step.workflow


def url_of(member: Membership, path: str = "") -> str:
    return f"/app/orgs/{member.organisation.slug}/dashboard/{path}"


def test_dashboard_shows_the_part_and_the_days_of_its_address(
    client: Client, member: Membership, workflow: Workflow
) -> None:
    days = {"first": "2026-03-01", "last": "2026-03-31"}

    shown = client.get(url_of(member), {"of": "workflow:checks", **days}).content.decode()
    assert "pass rate" in shown
    assert "100.0 %" in shown
    assert "Runs by result" in shown
    assert "dashboard/csv/?of=workflow%3Achecks&amp;first=2026-03-01" in shown
    csv = client.get(url_of(member, "csv/"), {"of": "workflow:checks", **days})
    assert csv.content.decode().splitlines()[1].startswith("2026-03-10,1,1,")
    later = client.get(url_of(member), {"first": "2026-04-01", "last": "2026-04-02"})
    assert "No runs in this time" in later.content.decode()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"first": "2026-03-02", "last": "2026-03-01"}, "This day is after the last one."),
        ({"first": "2001-01-01", "last": "2026-03-01"}, "These are more than 1096 days."),
        ({"first": "yesterday"}, "Enter a valid date."),
        ({"of": "workflow:gone"}, "Select a valid choice."),
    ],
)
def test_unusable_selection_is_reported_at_its_field(
    client: Client, member: Membership, workflow: Workflow, query: dict[str, str], message: str
) -> None:
    assert message in client.get(url_of(member), query).content.decode()
    assert client.get(url_of(member, "csv/"), query).status_code == 400


def test_dashboard_without_figures_says_when_they_appear(
    client: Client, member: Membership
) -> None:
    shown = client.get(url_of(member)).content.decode()

    assert "No figures yet" in shown
    assert "within an hour" in shown


def test_api_gives_figures_by_day(client: Client, member: Membership, workflow: Workflow) -> None:
    url = f"/api/v1/orgs/{member.organisation.slug}/figures/"
    days = {"after": "2026-03-01", "before": "2026-03-11"}

    answer = client.get(url, {"kind": "workflow", "key": "checks", **days}).json()
    (day,) = answer["results"]
    assert (day["day"], day["runs"], day["passed"], day["pass_rate"]) == ("2026-03-10", 1, 1, 1.0)
    assert client.get(url, {"before": "2026-03-10"}).json()["results"] == []
    for query in ({"key": "checks"}, {"kind": "project"}, {"after": "0001-01-01"}):
        assert client.get(url, query).status_code == 400
