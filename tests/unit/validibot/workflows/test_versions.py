"""Versions of workflows: frozen by their first run, and edited as a copy."""

import pytest
from django.core.exceptions import ValidationError

from tests.factories import (
    AssertionFactory,
    StepFactory,
    StepFileFactory,
    ValidatorFactory,
    launched,
)
from validibot.workflows.models import Step, VersionFrozen, Workflow
from validibot.workflows.versions import content_of, edited, freeze, newest, next_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def step() -> Step:
    """A container step with an assertion and a file."""
    step: Step = StepFactory.create(validator=ValidatorFactory.create(container=True))
    AssertionFactory.create(step=step)
    StepFileFactory.create(step=step)
    return step


def test_first_run_freezes_version() -> None:
    step = StepFactory.create()

    launched(step)

    assert Workflow.objects.get(pk=step.workflow_id).is_frozen


def test_unfrozen_version_can_be_edited(step: Step) -> None:
    step.name = "Renamed"
    step.save()

    assert Step.objects.get(pk=step.pk).name == "Renamed"


@pytest.mark.parametrize("part", ["step", "assertion", "file"])
@pytest.mark.parametrize("action", ["save", "delete"])
def test_part_of_frozen_version_cannot_be_changed(step: Step, part: str, action: str) -> None:
    freeze(step.workflow)
    row = {"step": step, "assertion": step.assertions.get(), "file": step.files.get()}[part]

    with pytest.raises(VersionFrozen, match="has runs and cannot be changed"):
        getattr(row, action)()


def test_frozen_version_takes_no_new_step(step: Step) -> None:
    freeze(step.workflow)

    with pytest.raises(VersionFrozen):
        StepFactory.create(workflow=step.workflow, order=2)


def test_texts_of_frozen_version_cannot_be_changed(step: Step) -> None:
    workflow = freeze(step.workflow)
    workflow.name = "Other"

    with pytest.raises(VersionFrozen):
        workflow.save()


def test_frozen_version_can_be_deactivated(step: Step) -> None:
    workflow = freeze(step.workflow)
    workflow.is_active = False

    workflow.save()

    assert not Workflow.objects.get(pk=workflow.pk).is_active


def test_next_version_copies_all_parts(step: Step) -> None:
    made = next_version(step.workflow)

    assert made.workflow.version == 2
    assert content_of(made.workflow) == content_of(step.workflow)
    assert made.copy_of(step) == made.workflow.steps.get()


def test_edit_of_frozen_version_makes_next_version(step: Step) -> None:
    freeze(step.workflow)

    with edited(step.workflow) as draft:
        copy = draft.steps.get()
        copy.name = "Renamed"
        copy.save()

    assert draft.version == 2
    assert Step.objects.get(pk=step.pk).name != "Renamed"
    assert newest(step.workflow) == draft


def test_edit_without_difference_keeps_version(step: Step) -> None:
    freeze(step.workflow)

    with edited(step.workflow) as draft:
        draft.steps.get().save()

    assert newest(step.workflow) == step.workflow


def test_freeze_returns_steps_of_latest_edit(step: Step) -> None:
    loaded = Workflow.objects.prefetch_related("steps").get(pk=step.workflow_id)
    Step.objects.filter(pk=step.pk).update(name="Edited meanwhile")

    assert freeze(loaded).steps.all()[0].name == "Edited meanwhile"


@pytest.mark.parametrize(
    ("engine", "config", "message"),
    [
        (
            "json_schema",
            {"schmea": 1},
            "`schmea`: This is not a setting of JSON Schema; allowed: `docum",
        ),
        ("json_schema", {}, "`schema`: Field required"),
        ("json_schema", {"schema": {"type": "no such type"}}, "The schema is invalid at /type"),
        ("xml_schema", {"schema": "<xs:schema"}, "The schema is not XML"),
        ("assertions", {"document": "perhaps"}, "`document`: Input should be a valid boolean"),
    ],
)
def test_wrong_config_of_engine_is_refused(engine: str, config: object, message: str) -> None:
    validator = ValidatorFactory.create(engine=engine)

    with pytest.raises(ValidationError, match=message):
        StepFactory.create(validator=validator, config=config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"simulation": {"stop": 2}},
            "`simulation.stop`: This is not a setting of .*, simulation; allowed",
        ),
        ({"simulation": {"stop_time": -1}}, "`simulation.stop_time`: Input should be greater"),
        ([], "must be a JSON object"),
        (
            {"finding_severities": {"E1": "BAD"}},
            "`finding_severities.E1`: 'BAD' is no severity; use one",
        ),
        ({"finding_severities": "WARNING"}, "`finding_severities`: This must be an object"),
    ],
)
def test_wrong_config_of_container_is_refused(config: object, message: str) -> None:
    validator = ValidatorFactory.create(container=True)

    with pytest.raises(ValidationError, match=message):
        StepFactory.create(validator=validator, config=config)


def test_second_file_for_port_is_refused(step: Step) -> None:
    with pytest.raises(ValidationError, match="has a file for port 'weather_file'"):
        StepFileFactory.create(step=step, name="other.epw")


def test_file_for_unknown_port_is_refused(step: Step) -> None:
    with pytest.raises(ValidationError, match=r"'wether' is not a file port of .* weather_file"):
        StepFileFactory.create(step=step, port_key="wether")


def test_wrong_assertion_is_refused(step: Step) -> None:
    with pytest.raises(ValidationError, match="output"):
        AssertionFactory.create(step=step, order=2, expression="output.(")


def test_extension_without_dot_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"'json' must look like '\.json'"):
        ValidatorFactory.create(accepts=[{"extension": "json", "mime_type": "application/json"}])


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ([{"name": "a b", "value": 1}], "'a b' must be an identifier"),
        ([{"name": "a", "value": 1}, {"name": "a", "value": 2}], "'a' is defined twice"),
        ([{"value": 1}], "must have the keys name and value"),
    ],
)
def test_wrong_constants_are_refused(constants: object, message: str) -> None:
    workflow = StepFactory.create().workflow
    workflow.constants = constants

    with pytest.raises(ValidationError, match=message):
        workflow.save()
