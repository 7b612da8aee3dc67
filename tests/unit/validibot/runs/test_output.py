"""Findings, outputs and artifacts of the output that a container validator stores."""

import json

import pytest

from tests.unit.validibot.runs.scripted import (
    output_of,
    post,
    read_input,
    store_output,
)
from validibot.core.storage import get_storage
from validibot.runs.backends.base import LaunchRequest
from validibot.runs.models import Artifact, Attempt, Finding, Run
from validibot.workflows.models import Step


def test_findings_keep_code_line_and_column(request_: LaunchRequest, container_run: Run) -> None:
    place = {"line": 3, "column": 7, "path": "Zone"}
    message = {"severity": "ERROR", "code": "E1", "text": "Bad\0 zone", "location": place}
    store_output(request_, status="failed_validation", messages=[message])

    post(request_)

    container_run.refresh_from_db()
    found = Finding.objects.get()
    assert container_run.result == "FAIL"
    assert (found.code, found.line, found.column, found.path) == ("E1", 3, 7, "Zone")
    assert found.message == "Bad� zone"


def test_thousands_of_findings_are_cut_down_to_the_worst(
    request_: LaunchRequest, container_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validibot.runs.verdict.MAX_FINDINGS", 1000)
    many = [{"severity": "WARNING", "text": f"warning {number}"} for number in range(1500)]
    last = {"severity": "ERROR", "text": "the one that matters"}
    store_output(request_, status="failed_validation", messages=[*many, last])

    post(request_)

    found = list(Finding.objects.filter(run=container_run).order_by("order"))
    assert len(found) == 1001
    assert found[-2].message == "the one that matters"
    assert "501 further findings" in found[-1].message


def test_timeout_code_of_validator_ends_run_timed_out(
    request_: LaunchRequest, container_run: Run
) -> None:
    message = {"severity": "ERROR", "code": "ENGINE_TIMEOUT", "text": "Stopped after 90 s."}
    store_output(request_, status="failed_runtime", messages=[message])

    post(request_)

    container_run.refresh_from_db()
    assert (container_run.result, container_run.error) == ("TIMED_OUT", "Stopped after 90 s.")
    assert container_run.findings.get().code == "ENGINE_TIMEOUT"
    assert Attempt.objects.get().state == "COMPLETED"


@pytest.mark.parametrize(
    ("status", "result", "step"),
    [
        ("success", "PASS", "PASSED"),
        ("failed_validation", "FAIL", "FAILED"),
        ("failed_runtime", "ERROR", "FAILED"),
        ("cancelled", "CANCELED", "CANCELED"),
    ],
)
def test_stored_output_status_decides_result(
    request_: LaunchRequest, container_run: Run, status: str, result: str, step: str
) -> None:
    store_output(request_, status=status)

    post(request_, status="success")

    container_run.refresh_from_db()
    assert (container_run.result, container_run.steps.get().status) == (result, step)


@pytest.mark.parametrize(
    ("status", "error", "category", "message"),
    [
        ("failed_runtime", "The validator failed and did not say why.", "RUNTIME_ERROR", None),
        ("failed_validation", "", "VALIDATION_FAILED", "The validator refused the submission."),
        ("cancelled", "The validator was cancelled.", "", None),
    ],
)
def test_status_without_messages_is_explained(
    request_: LaunchRequest,
    container_run: Run,
    status: str,
    error: str,
    category: str,
    message: str | None,
) -> None:
    store_output(request_, status=status)

    post(request_)

    container_run.refresh_from_db()
    assert (container_run.error, container_run.error_category) == (error, category)
    assert [note.message for note in container_run.findings.all()] == [message] * bool(message)


def test_message_without_code_or_place_is_a_finding_without(
    request_: LaunchRequest, container_run: Run
) -> None:
    store_output(request_, messages=[{"severity": "INFO", "text": "Done."}])

    post(request_)

    found = container_run.findings.get()
    assert (found.severity, found.message) == ("INFO", "Done.")
    assert (found.code, found.path, found.line, found.column) == ("", "", None, None)


@pytest.mark.parametrize(
    ("status", "reported", "wanted", "result"),
    [
        ("failed_validation", "ERROR", "WARNING", "PASS"),
        ("success", "WARNING", "ERROR", "FAIL"),
        ("failed_validation", "WARNING", "INFO", "FAIL"),
    ],
)
def test_step_changes_severity_of_findings(
    request_: LaunchRequest,
    container_run: Run,
    status: str,
    reported: str,
    wanted: str,
    result: str,
) -> None:
    step = container_run.steps.get().step
    Step.objects.filter(pk=step.pk).update(config={"finding_severities": {"E1": wanted}})
    message = {"severity": reported, "code": "E1", "text": "Not so good"}
    store_output(request_, status=status, messages=[message])

    post(request_)

    container_run.refresh_from_db()
    assert container_run.result == result
    assert Finding.objects.get(code="E1").severity == wanted


def test_metrics_are_outputs_by_category_and_name(
    request_: LaunchRequest, container_run: Run
) -> None:
    validator = container_run.steps.get().step.validator
    output = {"label": "", "unit": ""}
    validator.outputs = [
        {"slug": "net", "path": "metrics.energy.net", **output},
        {"slug": "area_by_zone", "path": "metrics.area", **output},
        {"slug": "missing", "path": "metrics.energy.wind", **output},
    ]
    validator.save()
    metrics = [
        {"name": "net", "category": "energy", "value": 3.5},
        {"name": "net", "category": "area", "value": 12.0},
    ]
    store_output(request_, metrics=metrics)

    post(request_)

    assert container_run.steps.get().outputs == {"net": 3.5, "area_by_zone": {"net": 12.0}}


def test_numbers_that_are_none_are_no_outputs(request_: LaunchRequest, container_run: Run) -> None:
    output = json.loads(output_of(request_).model_dump_json())
    content = json.dumps(output).replace("2.0", "NaN").encode()
    store_output(request_, content)

    post(request_)

    assert container_run.steps.get().outputs == {"time": 10.0}


def test_artifacts_are_kept_when_they_are_what_was_announced(
    request_: LaunchRequest, container_run: Run
) -> None:
    folder = f"{read_input(request_).context.execution_bundle_uri}/outputs"
    stored = get_storage(folder).create(f"{folder}/a.csv", b"1,2", mime_type="text/csv")
    true = {
        "name": "a.csv",
        "type": "timeseries-csv",
        "uri": stored.uri,
        "size_bytes": 3,
        "sha256": stored.sha256,
        "storage_version": stored.version,
    }
    elsewhere = true | {"name": "b.csv", "uri": "file:///etc/passwd"}
    larger = true | {"name": "c.csv", "size_bytes": 4}
    store_output(request_, artifacts=[true, elsewhere, larger])

    post(request_)

    kept = Artifact.objects.values(*true, "mime_type").get()
    assert kept == true | {"mime_type": "application/octet-stream"}
    doubts = Finding.objects.filter(code="validator.artifact_left_out", severity="WARNING")
    assert [doubt.message for doubt in doubts.order_by("order")] == [
        f"The output file {name} differs from what the validator announced and was left out."
        for name in ("b.csv", "c.csv")
    ]


def test_artifact_keeps_its_media_type(request_: LaunchRequest) -> None:
    folder = f"{read_input(request_).context.execution_bundle_uri}/outputs"
    stored = get_storage(folder).create(f"{folder}/a.csv", b"1,2", mime_type="text/csv")
    announced = {
        "name": "a.csv",
        "type": "timeseries-csv",
        "mime_type": "text/csv",
        "uri": stored.uri,
        "size_bytes": 3,
        "sha256": stored.sha256,
        "storage_version": stored.version,
    }
    store_output(request_, artifacts=[announced, announced])

    post(request_)

    assert Artifact.objects.get().mime_type == "text/csv"
    assert Finding.objects.get().code == "validator.artifact_left_out"
