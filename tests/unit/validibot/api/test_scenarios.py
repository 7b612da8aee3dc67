"""The scenario of a launch: accepted with mocked validators, refused by name otherwise."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from pytest_django import Settings

from tests.factories import StepFactory, ValidatorFactory
from tests.unit.validibot.api.conftest import Api
from validibot.runs.models import Run
from validibot.workflows.models import Workflow

RUNS = "orgs/acme/workflows/people/runs/"
HEADER = "X-Validibot-Scenario"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def mocked(people: Workflow) -> Workflow:
    """A workflow whose second step runs in a (mocked) container."""
    StepFactory.create(
        workflow=people,
        order=2,
        validator=ValidatorFactory.create(container=True, validation_type="CUSTOM_VALIDATOR"),
        config={},
    )
    return people


@pytest.fixture
def real(settings: Settings, mocked: Workflow) -> None:
    settings.EXECUTION_BACKENDS = {
        "default": {"BACKEND": "validibot.runs.backends.subprocess.SubprocessBackend"}
    }


def raw(alice: Api, scenario: str) -> Any:
    return alice.launch(b'{"name": "Ada"}', **{HEADER: scenario})


def envelope(alice: Api, scenario: str) -> Any:
    body = {"content": '{"name": "Ada"}', "filename": "a.json", "scenario": scenario}
    return alice.post(RUNS, json.dumps(body), "application/json")


def form(alice: Api, scenario: str) -> Any:
    file = SimpleUploadedFile("a.json", b'{"name": "Ada"}')
    return alice.post(RUNS, {"file": file, "scenario": scenario})


each_way = pytest.mark.parametrize("way", [raw, envelope, form])


@each_way
def test_scenario_decides_the_result(alice: Api, mocked: Workflow, way: Any) -> None:
    run = way(alice, "fail(4)").json()

    assert (run["result"], len(run["steps"][1]["issues"])) == ("FAIL", 4)
    assert Run.objects.get().scenario == "fail(4)"


@each_way
@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ("explode", "'explode' is not a scenario. Choose one of pass, fail(N), warnings(N)"),
        ("fail(-1)", "'fail(-1)' is not a scenario"),
        ("slow(4000)", "'slow(4000)' is invalid: SECONDS is a number from 0 to 3600"),
        ("slow(1.2.3)", "SECONDS is a number from 0 to 3600"),
        ("fail(1.5)", "N is a whole number from 0 to 5000"),
        ("crash(1)", "crash takes no argument"),
        ("pass;drop", "is not a scenario"),
    ],
)
def test_unknown_scenario_is_refused_by_name(
    alice: Api, mocked: Workflow, way: Any, scenario: str, said: str
) -> None:
    answer = way(alice, scenario)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "SCENARIO_REFUSED")
    assert [error["field"] for error in problem["errors"]] == ["scenario"]
    assert said in problem["detail"]
    assert not Run.objects.exists()


@each_way
@pytest.mark.usefixtures("real")
def test_scenario_for_real_validators_is_refused(alice: Api, way: Any) -> None:
    answer = way(alice, "fail(4)")

    problem = answer.json()
    assert (answer.status_code, problem["errors"][0]["field"]) == (400, "scenario")
    assert "'fail(4)' cannot be used: the validators of this server are not" in problem["detail"]


def test_scenario_without_container_step_is_refused(alice: Api, people: Workflow) -> None:
    problem = raw(alice, "pass").json()

    assert "People has no step that runs in a container." in problem["detail"]


def test_scenario_of_wrong_type_is_refused(alice: Api, mocked: Workflow) -> None:
    body = {"content": "{}", "filename": "a.json", "scenario": {"name": "fail"}}

    answer = alice.post(RUNS, json.dumps(body), "application/json")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "scenario")


def test_idempotency_key_with_other_scenario_is_refused(alice: Api, mocked: Workflow) -> None:
    key = {"Idempotency-Key": "one"}

    first = alice.launch(b'{"name": "Ada"}', **key, **{HEADER: "fail"})
    again = alice.launch(b'{"name": "Ada"}', **key, **{HEADER: "fail"})
    other = alice.launch(b'{"name": "Ada"}', **key, **{HEADER: "pass"})

    assert again.json()["id"] == first.json()["id"]
    assert other.status_code == 422
