"""Runs on mocked validators: all real but the validator."""

import pytest
from pytest_django import DjangoAssertNumQueries, Settings

from tests.factories import (
    AssertionFactory,
    StepFactory,
    ValidatorFactory,
    started_run,
)
from validibot.runs.execute import execute
from validibot.runs.models import CallbackReceipt, RunEvent
from validibot.workflows.models import Step

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_root")]

TYPES = ["ENERGYPLUS", "FMU", "CUSTOM_VALIDATOR", "PORTFOLIO_MANAGER", "OF_TOMORROW"]


def container_step(kind: str, **step: object) -> Step:
    validator = ValidatorFactory.create(container=True, validation_type=kind)
    return StepFactory.create(validator=validator, config={}, **step)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("filename", "result"), [("model.fmu", "PASS"), ("Failing.fmu", "FAIL")])
def test_mock_passes_and_fails_by_file_name(kind: str, filename: str, result: str) -> None:
    run = started_run(step=container_step(kind), filename=filename, inline=b"PK")

    assert not execute(run.pk)

    run.refresh_from_db()
    has_errors = run.findings.filter(severity="ERROR").exists()
    assert (run.result, has_errors) == (result, result == "FAIL")
    assert CallbackReceipt.objects.get().status == "COMPLETED"


def test_worker_continues_with_next_step() -> None:
    first = container_step("FMU")
    container_step("ENERGYPLUS", workflow=first.workflow, order=2)
    last = StepFactory.create(
        workflow=first.workflow, order=3, validator__engine="assertions", config={"document": False}
    )
    AssertionFactory.create(step=last, expression="size(steps) >= 2")
    run = started_run(step=first, filename="model.fmu", inline=b"PK")

    assert execute(run.pk)

    run.refresh_from_db()
    assert run.result == "PASS"
    kinds = RunEvent.objects.filter(run=run).values_list("kind", flat=True)
    assert [kind for kind in kinds if kind != "step_started"] == [
        "delivered",
        "launched",
        "running",
        "called_back",
        "step_passed",
        "launched",
        "running",
        "called_back",
        "step_passed",
        "step_passed",
        "passed",
    ]


def test_mock_outputs_option_replaces_outputs(settings: Settings) -> None:
    step = container_step("CUSTOM_VALIDATOR")
    step.validator.outputs = [{"slug": "y", "label": "y", "unit": "", "path": "outputs.y"}]
    step.validator.save()
    settings.EXECUTION_BACKENDS = {
        "default": {
            "BACKEND": "validibot.runs.backends.mock.MockBackend",
            "OPTIONS": {"outputs": {"CUSTOM_VALIDATOR": {"y": 3}}},
        }
    }
    run = started_run(step=step, filename="model.fmu", inline=b"PK")

    execute(run.pk)

    assert run.steps.get().outputs == {"y": 3}


def test_container_step_costs_few_queries(
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    run = started_run(step=container_step("FMU"), filename="model.fmu", inline=b"PK")

    with django_assert_max_num_queries(65):
        execute(run.pk)
