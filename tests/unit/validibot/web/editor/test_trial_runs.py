"""Trials of container steps in the editor: a run of the step alone, which nothing else shows."""

import datetime as dt
from typing import Any

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from tests.factories import StepFactory, StepFileFactory
from tests.unit.validibot.web.editor.conftest import step_form
from validibot.runs.execute import execute
from validibot.runs.models import Run
from validibot.runs.purge import purge
from validibot.workflows.models import Step, Validator, Workflow

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def step(workflow: Workflow) -> Step:
    """A step of EnergyPlus with a weather file of its own, after another step."""
    StepFactory.create(workflow=workflow, validator=Validator.objects.get(slug="json-schema"))
    made: Step = StepFactory.create(
        workflow=workflow, order=2, validator=Validator.objects.get(slug="energyplus"), config={}
    )
    StepFileFactory.create(step=made, type="energyplus_weather")
    return made


def tried(client: Client, base: str, step: Step, **changes: Any) -> Any:
    file = SimpleUploadedFile("model.idf", b"Version,25.2;")
    sent = step_form(step, name="As typed", **changes) | {"trial-file": file}
    return client.post(f"{base}/validators/{step.validator_id}/try/", sent, headers=HTMX)


def test_trial_runs_the_step_as_it_stands_on_the_page(
    client: Client, org: str, base: str, workflow: Workflow, step: Step
) -> None:
    started = tried(client, base, step)
    run = Run.objects.get()
    waiting = client.get(f"{base}/trials/{run.pk}/").content.decode()
    execute(run.pk)
    shown = client.get(f"{base}/trials/{run.pk}/").content.decode()

    assert started.status_code == 200
    assert f"{base}/trials/{run.pk}/" in started.content.decode()
    assert "is being checked" in waiting
    assert (run.source, [each.name for each in run.steps.all()]) == ("TRIAL", ["As typed"])
    assert run.steps.get().step.files.get().name == "weather.epw"
    assert "model.idf passes this step." in shown
    assert "trials" not in shown
    workflow.refresh_from_db()
    assert (workflow.is_frozen, step.name) == (False, "Check it")


def test_trial_is_in_no_list_and_cannot_be_repeated(
    client: Client, org: str, base: str, workflow: Workflow, step: Step
) -> None:
    tried(client, base, step)
    run = Run.objects.get()

    assert Workflow.objects.get() == workflow
    for page in (f"{org}/workflows/", f"{org}/runs/"):
        assert str(run.pk) not in client.get(page).content.decode()
    assert str(run.pk) in client.get(f"{org}/runs/?source=TRIAL").content.decode()
    assert "trial of one step" in client.get(f"{org}/runs/{run.pk}/").content.decode()
    client.post(f"{org}/runs/{run.pk}/rerun/", {"version": "same", "key": "a"})
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "Name: This field is required."),
        ({"trial-file": SimpleUploadedFile("a.pdf", b"%PDF")}, "a.pdf is not a file that"),
        ({"trial-file": ""}, "Choose a sample or a file"),
    ],
)
def test_trial_that_cannot_start_says_why(
    client: Client, base: str, step: Step, changes: dict[str, Any], message: str
) -> None:
    sent = step_form(step) | {"trial-file": SimpleUploadedFile("a.idf", b"x")} | changes
    answer = client.post(f"{base}/validators/{step.validator_id}/try/", sent, headers=HTMX)

    assert message in answer.content.decode()
    assert not Run.objects.exists()


def test_purge_removes_trials_after_a_day(client: Client, base: str, step: Step) -> None:
    tried(client, base, step)
    execute(Run.objects.get().pk)

    with time_machine.travel(timezone.now() + dt.timedelta(days=2), tick=False):
        counts = purge()

    assert (counts["runs_of_workflows"], counts["trials"]) == (1, 1)
    assert Workflow.with_trials.count() == 1
