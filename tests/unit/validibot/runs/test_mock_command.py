"""`manage.py scenarios`."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from tests.factories import (
    FindingFactory,
    OrganisationFactory,
    StepFactory,
    StepRunFactory,
    ValidatorFactory,
)
from validibot.runs.management.commands.scenarios import Command
from validibot.runs.models import Run
from validibot.workflows.models import Sample, Step
from validibot.workflows.scenarios import CATALOGUE

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("data_root")]

RUN = ("run", "--workflow", "decay")
FMU = {"extension": ".fmu", "mime_type": "application/vnd.fmi.fmu"}


def scenarios(*arguments: str) -> str:
    output = StringIO()
    call_command("scenarios", *arguments, stdout=output)
    return output.getvalue()


@pytest.fixture
def step(settings: Settings) -> Step:
    """A step of the workflow demo/decay, whose mocked validator does not wait."""
    settings.EXECUTION_BACKENDS = {
        "default": {
            "BACKEND": "validibot.runs.backends.mock.MockBackend",
            "OPTIONS": {"wait": lambda stopped, seconds: stopped.is_set()},
        }
    }
    step = StepFactory.create(
        workflow__slug="decay",
        workflow__organisation=OrganisationFactory.create(slug="demo"),
        validator=ValidatorFactory.create(container=True, accepts=[FMU]),
        config={},
    )
    Sample.objects.create(workflow=step.workflow, filename="a.fmu", content=b"PK", passes=True)
    return step


def test_every_scenario_is_listed_with_its_sentence() -> None:
    listed = scenarios().splitlines()

    assert len(listed) == len(CATALOGUE)
    for line, kind in zip(listed, CATALOGUE.values(), strict=True):
        assert line.split(maxsplit=1) == [kind.form, kind.sentence]


def test_scenarios_command_runs_and_reports_result(step: Step) -> None:
    told = dict(line.split(maxsplit=1) for line in scenarios(*RUN, "fail(2)").splitlines())

    run = Run.objects.get()
    assert told.pop("events").endswith("running called_back step_failed failed")
    assert told == {
        "run": str(run.pk),
        "scenario": "fail(2)",
        "state": "COMPLETED",
        "result": "FAIL",
        "category": "VALIDATION_FAILED",
        "error": "-",
        "findings": "2 ERROR",
        "artifacts": "none",
        "answers": "1 heard",
    }
    assert run.source == "CLI"


def test_scenarios_command_tells_that_a_run_has_not_ended(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validibot.runs.events.wait_until_finished", lambda *_, **__: False)

    first = scenarios(*RUN, "pass", "--wait", "7").splitlines()[0]

    assert first == "The run has not ended within 7 seconds."


def test_scenarios_command_counts_findings_by_severity() -> None:
    step_run = StepRunFactory.create()
    for severity in ("WARNING", "ERROR", "WARNING"):
        FindingFactory.create(step_run=step_run, severity=severity)
    output = StringIO()

    Command(stdout=output)._tell(step_run.run)

    assert "findings   1 ERROR, 2 WARNING\n" in output.getvalue()


def test_command_waits_for_late_callbacks(step: Step) -> None:
    told = dict(line.split(maxsplit=1) for line in scenarios(*RUN, "late").splitlines())

    assert (told["result"], told["answers"]) == ("TIMED_OUT", "1 heard")


def test_scenarios_command_takes_a_file(step: Step, tmp_path: Path) -> None:
    file = tmp_path / "mine.fmu"
    file.write_bytes(b"PK mine")

    scenarios(*RUN, "pass", "--file", str(file))

    assert Run.objects.get().submission.filename == "mine.fmu"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*RUN, "explode"), "'explode' is not a scenario. Choose one of pass"),
        ((*RUN, "pass", "--file", "nothing.fmu"), "--file nothing.fmu: No such file or directory"),
        ((*RUN, "pass", "--file", "manage.py"), "manage.py is not a file that"),
        (("run", "--workflow", "other", "pass"), "There is no workflow 'other'. There are: decay."),
        ((*RUN, "pass", "--organisation", "acme"), "There is no organisation 'acme'."),
    ],
)
def test_invalid_argument_is_named(step: Step, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said.replace(".", r"\.")):
        scenarios(*arguments)

    assert not Run.objects.exists()
