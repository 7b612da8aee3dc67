"""Inputs of a workflow: their schema, the check of a launch, and the form of a launch."""

import json
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.factories import MembershipFactory, StepFactory, WorkflowFactory
from tests.unit.validibot.api.conftest import Api
from validibot.accounts.models import Role
from validibot.runs.execute import execute
from validibot.runs.models import Run
from validibot.workflows.inputs import typed
from validibot.workflows.models import Sample, Step, Workflow

pytestmark = pytest.mark.django_db

SCHEMA = {
    "type": "object",
    "required": ["area"],
    "properties": {
        "phase": {"type": "string", "enum": ["draft", "final"], "title": "Phase"},
        "area": {"type": "number", "minimum": 0, "description": "Floor area in m²."},
        "heated": {"type": "boolean", "default": True},
        "built": {"type": "string", "format": "date"},
    },
    "additionalProperties": False,
}
TEXT = json.dumps(SCHEMA)


@pytest.fixture
def step() -> Step:
    made: Step = StepFactory.create(
        workflow__organisation=MembershipFactory.create(role=Role.AUTHOR).organisation,
        workflow__input_schema=TEXT,
        config={"schema": {"type": "object"}},
        when="i.area > 10.0 && !i.?heated.orValue(false)",
    )
    return made


def address(workflow: Workflow) -> str:
    return f"/app/orgs/{workflow.organisation.slug}/workflows/{workflow.slug}/"


@pytest.fixture
def author(client: Client, step: Step) -> Client:
    client.force_login(step.workflow.organisation.memberships.get().user)
    return client


def launched(author: Client, step: Step, **fields: str) -> Any:
    sent = {"file": SimpleUploadedFile("a.json", b"{}")}
    return author.post(address(step.workflow), sent | {f"input-{k}": v for k, v in fields.items()})


def test_launch_form_has_a_field_for_each_input_in_order(author: Client, step: Step) -> None:
    shown = author.get(address(step.workflow)).content.decode()

    places = [shown.index(f'name="input-{name}"') for name in ("phase", "area", "heated", "built")]
    assert places == sorted(places)
    assert 'min="0"' in shown
    assert 'type="date"' in shown


def test_inputs_of_form_are_values_of_their_types(author: Client, step: Step) -> None:
    assert launched(author, step, area="12", heated="false").status_code == 302

    run = Run.objects.get()
    execute(run.pk)
    assert run.submission.metadata == {"area": "12", "heated": "false"}
    assert run.steps.get().status == "PASSED"


def test_wrong_input_is_shown_at_its_field_and_keeps_the_rest(author: Client, step: Step) -> None:
    answer = launched(author, step, area="-1", phase="final")

    shown = answer.content.decode()
    assert (answer.status_code, Run.objects.exists()) == (400, False)
    assert "less than the minimum of 0" in shown
    assert '<option value="final" selected>' in shown


def test_input_with_nul_is_refused(author: Client, step: Step) -> None:
    assert launched(author, step, area="1", built="\0").status_code == 400


def test_missing_input_of_api_launch_is_named(step: Step) -> None:
    api = Api(step.workflow.organisation.memberships.get().user)
    path = f"orgs/{step.workflow.organisation.slug}/workflows/{step.workflow.slug}"
    envelope = {"content": "{}", "metadata": {"phase": "late", "x": "1"}}

    answer = api.post(f"{path}/runs/", json.dumps(envelope), "application/json").json()

    errors = {each["field"]: each["message"] for each in answer["errors"]}
    assert answer["code"] == "METADATA_INVALID"
    assert errors["metadata.area"] == "This input is required."
    assert "late" in errors["metadata.phase"]
    assert api.get(f"{path}/").json()["input_schema"] == SCHEMA


def test_sample_is_launched_with_its_metadata(author: Client, step: Step) -> None:
    sample = Sample.objects.create(
        workflow=step.workflow, filename="a.json", content=b"{}", passes=True
    )
    path = f"{address(step.workflow)}samples/{sample.pk}/launch/"

    assert author.post(path).status_code == 400
    Sample.objects.update(metadata={"area": "5"})
    assert author.post(path).status_code == 302


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("number", "50", 50.0),
        ("number", "1e400", "1e400"),
        ("number", "true", "true"),
        ("integer", "3.0", 3),
        ("integer", "3.5", "3.5"),
        ("boolean", " true ", True),
        ("boolean", "1", "1"),
        ("string", "1", "1"),
    ],
)
def test_text_is_read_as_its_type(kind: str, text: str, value: object) -> None:
    schema = json.dumps({"type": "object", "properties": {"a": {"type": kind}}})

    [read] = typed(schema, {"a": text}).values()

    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ('{"type": "object", "anyOf": []}', "'anyOf' cannot be used here"),
        ({"a": {"type": "array"}}, "must have a `type`"),
        ({"a": {"type": "string", "$ref": "x"}}, "'$ref' cannot be used"),
        ({"a": {"type": "string", "enum": []}}, "`enum` must be a list"),
        ({"a": {"type": "string", "pattern": "("}}, "pattern"),
        ({"a": {"type": "number", "minimum": "x"}}, "minimum"),
        ('{"type": "object", "required": ["b"]}', "`required` names 'b'"),
        ('{"type": "object", "required": [["b"]]}', "`required` names"),
    ],
)
def test_schema_without_a_form_is_refused(schema: Any, message: str) -> None:
    if isinstance(schema, dict):
        schema = json.dumps({"type": "object", "properties": schema})

    with pytest.raises(ValidationError, match=message.replace("$", r"\$")) as caught:
        WorkflowFactory.create(input_schema=schema)

    assert list(caught.value.message_dict) == ["input_schema"]
