"""Results by API: findings in pages, exports, the submitted file, and the re-run."""

import io
import zipfile
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from tests.downloads import streamed
from tests.factories import FindingFactory, MembershipFactory
from tests.unit.validibot.api.conftest import Api
from validibot.runs.models import ExportFile, Run
from validibot.runs.rules import as_rows
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(alice: Api, people: Workflow) -> Run:
    return Run.objects.get(pk=alice.launch(b'{"name": "Ada"}').json()["id"])


def get(alice: Api, run: Run, path: str) -> Any:
    return alice.get(f"orgs/acme/runs/{run.pk}/{path}")


def test_findings_come_in_pages_and_by_filter(alice: Api, run: Run) -> None:
    step_run = run.steps.get()
    for number in range(60):
        FindingFactory.create(
            run=run, step_run=step_run, message=f"Reading {number}", code=f"c{number % 2}"
        )

    first = get(alice, run, "findings/?code=c1&page_size=20").json()
    second = alice.get(first["next"].removeprefix("/api/v1/")).json()
    one = get(alice, run, "findings/?text=reading%2059&severity=ERROR&step=1").json()

    assert [len(page["results"]) for page in (first, second)] == [20, 10]
    assert second["next"] is None
    assert [(each["message"], each["step"]) for each in one["results"]] == [("Reading 59", 1)]


@pytest.mark.parametrize("query", ["severity=BAD", "step=0", "step=x", "text=%00"])
def test_unusable_filter_is_named(alice: Api, run: Run, query: str) -> None:
    answer = get(alice, run, f"findings/?{query}")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == query.split("=", maxsplit=1)[0]


def test_bundle_is_accepted_then_a_zip_with_the_submitted_file(
    alice: Api,
    run: Run,
    settings: Settings,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    Run.objects.filter(pk=run.pk).update(status="SUCCEEDED", ended_at=timezone.now())
    settings.MAINTENANCE = True
    refused = get(alice, run, "export/bundle/")
    assert (refused.status_code, refused.json()["code"]) == (503, "MAINTENANCE")
    assert not ExportFile.objects.exists()
    settings.MAINTENANCE = False
    with django_capture_on_commit_callbacks(execute=True):
        accepted = get(alice, run, "export/bundle/")
    settings.MAINTENANCE = True  # what there is can be read
    answer = get(alice, run, "export/bundle/")

    assert accepted.status_code == 202
    assert accepted.headers["Location"] == accepted.json()["url"] == answer.request["PATH_INFO"]
    assert accepted.headers["Retry-After"] == "2"

    with zipfile.ZipFile(io.BytesIO(streamed(answer))) as archive:
        assert archive.testzip() is None
        assert "submission/a.json" in archive.namelist()


def test_unknown_export_names_the_known_ones(alice: Api, run: Run) -> None:
    answer = get(alice, run, "export/docx/")

    assert answer.status_code == 404
    assert "html, pdf, csv, jsonl, junit, sarif, bundle" in answer.json()["detail"]


def test_rerun_starts_run_on_the_same_file(alice: Api, run: Run) -> None:
    headers = {"Idempotency-Key": "again"}
    path = f"orgs/acme/runs/{run.pk}/rerun/"

    first = alice.post(path, **headers)
    second = alice.post(path, **headers)

    assert first.status_code in (201, 202)
    assert first.json()["id"] == second.json()["id"] != str(run.pk)
    assert Run.objects.get(pk=first.json()["id"]).rerun_of == run


def test_retry_goes_on_from_the_failed_step_once(alice: Api, run: Run) -> None:
    path = f"orgs/acme/runs/{run.pk}/retry/"
    refused = alice.post(path)
    Run.objects.filter(pk=run.pk).update(status="TIMED_OUT", error="late")

    first, second = alice.post(path), alice.post(path)

    assert (refused.status_code, refused.json()["code"]) == (409, "RUN_NOT_RETRYABLE")
    assert first.status_code in (201, 202)
    assert first.json()["retry_of"] == str(run.pk)
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["Idempotent-Replayed"] == "true"


def test_retry_of_somebody_else_is_not_named(alice: Api, run: Run) -> None:
    executor = MembershipFactory.create(organisation=run.organisation, role="executor").user
    Run.objects.filter(pk=run.pk).update(status="TIMED_OUT", user=executor)
    path = f"orgs/acme/runs/{run.pk}/retry/"
    retried = alice.post(path).json()["id"]

    answer = Api(executor).post(path)

    assert (answer.status_code, answer.json()["code"]) == (409, "RUN_RETRIED")
    assert retried not in answer.content.decode()


def test_rerun_with_unknown_version_is_refused(alice: Api, run: Run) -> None:
    answer = alice.post(f"orgs/acme/runs/{run.pk}/rerun/?version=2")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"] == (
        "`version` is '2'; it must be one of same, newest."
    )


@pytest.mark.parametrize("order", [1, 10**12])
def test_missing_submitted_file_is_not_found(alice: Api, run: Run, order: int) -> None:
    assert get(alice, run, f"files/{order}/").status_code == 404


def test_document_lists_worst_issues_and_links_to_the_others(
    alice: Api, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validibot.api.run_documents.MAX_ISSUES", 2)
    step_run = run.steps.get()
    for severity in ("INFO", "ERROR", "WARNING", "ERROR"):
        FindingFactory.create(run=run, step_run=step_run, severity=severity)
    step_run.rules = as_rows(step_run.findings.all())
    step_run.save()

    step = get(alice, run, "").json()["steps"][0]

    assert step["finding_count"] == 4
    assert [issue["severity"] for issue in step["issues"]] == ["ERROR", "ERROR", "INFO"]
    assert step["issues"][-1]["code"] == "findings.left_out"
    assert f"/runs/{run.pk}/findings/" in step["issues"][-1]["message"]


def test_progress_has_the_reason_of_an_unfinished_run(alice: Api, run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(status="SUCCEEDED")
    ended = get(alice, run, "progress/").json()
    Run.objects.filter(pk=run.pk).update(status="PENDING", ended_at=None)
    waiting = get(alice, run, "progress/").json()

    assert ended == {"state": "COMPLETED", "reason": "", "since": None, "step": None}
    assert (waiting["state"], "queue" in waiting["reason"]) == ("PENDING", True)


def test_report_is_refused_before_the_end_and_tells_a_failure(alice: Api, run: Run) -> None:
    early = get(alice, run, "export/pdf/")
    Run.objects.filter(pk=run.pk).update(status="SUCCEEDED", ended_at=timezone.now())
    get(alice, run, "export/pdf/")
    ExportFile.objects.update(state="FAILED")
    failed = get(alice, run, "export/pdf/")

    assert (early.status_code, early.json()["code"]) == (409, "RUN_NOT_FINISHED")
    assert (failed.status_code, failed.json()["code"]) == (503, "EXPORT_FAILED")
    assert failed.headers["Retry-After"] == "60"
