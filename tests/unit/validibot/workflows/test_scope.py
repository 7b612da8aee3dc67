"""Names that the editor offers for the expressions of a step."""

import json

import pytest

from tests.factories import StepFactory, ValidatorFactory, WorkflowFactory
from validibot.engines.cel import compiled
from validibot.workflows.models import Sample, Step
from validibot.workflows.scope import names_in_scope, names_of_row

pytestmark = pytest.mark.django_db
OUTPUT = {"slug": "site_eui", "label": "Energy use", "unit": "kWh/m²", "path": "site_eui"}


@pytest.fixture
def second_step() -> Step:
    workflow = WorkflowFactory.create(
        constants=[{"name": "limit", "data_type": "NUMBER", "value": 20, "description": "Most."}]
    )
    Sample.objects.create(
        workflow=workflow,
        title="A sample",
        filename="a.json",
        content=json.dumps({"area": 3, "zones": [{"floor area": 1}]}).encode(),
        passes=True,
    )
    StepFactory.create(workflow=workflow, validator=ValidatorFactory.create(outputs=[OUTPUT]))
    return StepFactory.create(workflow=workflow, order=2)


def test_names_include_members_that_are_known_beforehand(second_step: Step) -> None:
    names = {each.text: each for each in names_in_scope(second_step)}

    assert {"p", "payload", "o", "s", "steps", "c", "i", "submission"} <= names.keys()
    assert names["c.limit"].example == "20"
    assert names["steps['1'].site_eui"].description == "Energy use [kWh/m²]"
    assert {"s.site_eui", "submission.filename", "p.area"} <= names.keys()
    assert names["p.zones[0]['floor area']"].example == "1"
    assert "row" not in names
    assert "o.site_eui" not in names


def test_every_offered_name_compiles(second_step: Step) -> None:
    columns = [{"name": "kWh", "type": "number"}, {"name": "floor area"}]
    of_row = names_of_row({"schema": {"fields": [{"name": "id"}]}, "columns": columns})

    for each in [*names_in_scope(second_step), *of_row]:
        compiled(each.text, of_rows=True)
    names = [each.text for each in of_row]
    assert names == ["row", "row.id", "row.kWh", "row['floor area']"]
    assert of_row[2].description == "column (number)"
    assert [each.text for each in names_of_row({"schema": "no JSON"})] == ["row"]
