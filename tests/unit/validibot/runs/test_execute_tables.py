"""Steps whose engine reads more than the submitted file."""

import pytest

from tests.factories import StepFactory, ValidatorFactory, WorkflowFactory, started_run
from validibot.runs.execute import execute
from validibot.submissions.models import Submission, SubmissionFile

pytestmark = pytest.mark.django_db


def test_table_is_checked_with_further_files_and_constants() -> None:
    validator = ValidatorFactory.create(engine="tabular", validation_type="TABULAR")
    config = {
        "columns": [{"name": "site"}, {"name": "kwh", "type": "number"}],
        "foreign_keys": [{"columns": ["site"], "file": "sites", "reference_columns": ["id"]}],
        "row_rules": [{"expression": "row.kwh <= c.most && i.unit == 'kWh'"}],
    }
    constants = [{"name": "most", "data_type": "NUMBER", "value": 5}]
    workflow = WorkflowFactory.create(constants=constants)
    step = StepFactory.create(workflow=workflow, validator=validator, config=config)
    run = started_run(step=step, inline=b"site,kwh\nA,5\nB,6\n", filename="a.csv")
    Submission.objects.update(metadata={"unit": "kWh"}, further_file_count=1)
    SubmissionFile.objects.create(
        submission=run.submission,
        order=1,
        filename="Sites.csv",
        mime_type="text/csv",
        size_bytes=5,
        sha256="0" * 64,
        inline=b"id\nA\n",
    )

    execute(run.pk)

    found = set(run.findings.filter(severity="ERROR").values_list("code", "path"))
    assert found == {("table.foreignKey", "/2/site"), ("table.row", "/2")}
    assert run.steps.get().outputs["row_count"] == 2
