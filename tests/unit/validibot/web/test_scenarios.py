"""The scenario field of the launch page, offered to developers with mocked validators."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import Settings

from tests.factories import MembershipFactory, StepFactory, ValidatorFactory
from validibot.runs.backends.mock.containers import containers
from validibot.runs.models import Run
from validibot.workflows.models import Sample, Step
from validibot.workflows.scenarios import CATALOGUE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("data_root")]


@pytest.fixture
def data_root(settings: Settings, tmp_path: Any) -> None:
    settings.DATA_ROOT = tmp_path.as_uri()
    settings.DEBUG = True


@pytest.fixture
def step() -> Step:
    step = StepFactory.create(
        validator=ValidatorFactory.create(container=True, accepts=[]), config={}
    )
    Sample.objects.create(workflow=step.workflow, filename="a.fmu", content=b"PK", passes=True)
    return step


@pytest.fixture
def page(client: Client, step: Step) -> str:
    organisation = step.workflow.organisation
    client.force_login(MembershipFactory.create(organisation=organisation).user)
    return f"/app/orgs/{organisation.slug}/workflows/{step.workflow.slug}/"


def test_page_offers_every_scenario(client: Client, page: str) -> None:
    html = client.get(page).content.decode()

    assert [name for name in CATALOGUE if f'<option value="{name}">' not in html] == []
    assert html.count('list="scenarios"') == 2


def test_page_without_debug_offers_no_scenario(
    client: Client, page: str, settings: Settings
) -> None:
    settings.DEBUG = False

    assert "scenario" not in client.get(page).content.decode()


def test_page_with_real_validators_offers_no_scenario(
    client: Client, page: str, settings: Settings
) -> None:
    backend = "validibot.runs.backends.subprocess.SubprocessBackend"
    settings.EXECUTION_BACKENDS = {"default": {"BACKEND": backend}}

    assert "scenario" not in client.get(page).content.decode()


def test_chosen_scenario_is_applied_and_shown(client: Client, page: str) -> None:
    form = {"file": SimpleUploadedFile("a.fmu", b"PK"), "scenario": "fail(2)"}

    shown = client.post(page, form, follow=True).content.decode()

    assert Run.objects.get().findings.count() == 2
    assert "scenario <code>fail(2)</code>" in shown


def test_sample_takes_a_scenario(client: Client, page: str, step: Step) -> None:
    sample = step.workflow.samples.get()

    client.post(f"{page}samples/{sample.pk}/launch/", {"scenario": "crash"})

    assert containers.join(60)
    run = Run.objects.get()
    assert (run.scenario, run.source, run.result) == ("crash", "LAUNCH_PAGE", "ERROR")


def test_unknown_scenario_is_named_on_the_page(client: Client, page: str) -> None:
    form = {"file": SimpleUploadedFile("a.fmu", b"PK"), "scenario": "explode"}

    answer = client.post(page, form)

    assert answer.status_code == 400
    assert "is not a scenario. Choose one of pass" in answer.content.decode()
    assert not Run.objects.exists()
