"""The trend of outputs over the runs of a workflow."""

import pytest
from django.test import Client
from django.utils import timezone

from tests.factories import (
    MembershipFactory,
    RunFactory,
    StepFactory,
    StepRunFactory,
    ValidatorFactory,
)
from validibot.accounts.models import Membership, Role
from validibot.web.trends import MAX_TRENDS
from validibot.workflows.models import Step

pytestmark = pytest.mark.django_db


@pytest.fixture
def step(member: Membership) -> Step:
    outputs = [{"slug": "eui", "label": "Energy use", "unit": "kWh/m²"}]
    step: Step = StepFactory.create(
        name="Energy",
        order=1,
        workflow__organisation=member.organisation,
        validator=ValidatorFactory.create(outputs=outputs),
    )
    return step


def ended(step: Step, **outputs: object) -> None:
    run = RunFactory.create(workflow=step.workflow, status="SUCCEEDED", ended_at=timezone.now())
    StepRunFactory.create(run=run, step=step, outputs=outputs, status="PASSED")


def trend(client: Client, step: Step, query: str = "") -> str:
    workflow = step.workflow
    url = f"/app/orgs/{workflow.organisation.slug}/workflows/{workflow.slug}/trend/{query}"
    return client.get(url).content.decode()


def test_trend_shows_numbers_of_ended_runs(client: Client, step: Step) -> None:
    ended(step, eui=100, text="a", flag=True, once=1)
    ended(step, eui=200, text="b", flag=False)
    StepRunFactory.create(
        run=RunFactory.create(workflow=step.workflow, status="RUNNING"),
        step=step,
        outputs={"eui": 1},
    )

    page = trend(client, step)

    assert "The latest 2 runs" in page
    assert page.count("<polyline") == 1
    assert "1 Energy: Energy use" in page
    assert "Values in kWh/m²" in page
    assert '<td class="number">100</td>' in page


def test_values_of_tables_have_trends_of_their_own(client: Client, step: Step) -> None:
    for value in (1, 2):
        ended(step, area={"OFFICE": 10 * value}, multiplier={"OFFICE": value})

    page = trend(client, step)

    assert page.count("<polyline") == 2
    assert "1 Energy: area: OFFICE" in page
    assert "1 Energy: multiplier: OFFICE" in page


def test_trend_is_filtered_by_text_and_bounded(client: Client, step: Step) -> None:
    for value in (1, 2):
        ended(step, **{f"zone_{number}": value for number in range(MAX_TRENDS + 3)})

    assert "3 further outputs are not shown" in trend(client, step)
    assert trend(client, step, "?output=ZONE 26").count("<polyline") == 1
    assert "No output fits this text." in trend(client, step, "?output=none")


def test_trend_of_few_values_says_what_is_needed(client: Client, step: Step) -> None:
    ended(step, eui=100)

    assert "A trend needs two runs" in trend(client, step)


def test_trend_leaves_out_runs_of_others(client: Client, step: Step) -> None:
    for value in (1, 2):
        ended(step, eui=value)
    other = MembershipFactory.create(organisation=step.workflow.organisation, role=Role.EXECUTOR)
    client.force_login(other.user)

    assert "A trend needs two runs" in trend(client, step)
