"""Actions on a run's page: filters, re-run, comparison, the submitted document, and downloads."""

import io
import zipfile
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from tests.downloads import streamed
from tests.factories import (
    FindingFactory,
    MembershipFactory,
    RunFactory,
    StepFactory,
    StepRunFactory,
    SubmissionFactory,
)
from validibot.accounts.models import Membership, Role
from validibot.core.storage import ObjectNotFound
from validibot.runs.models import Run
from validibot.submissions import content
from validibot.web import documents
from validibot.web.documents import NotText, lines_around
from validibot.workflows.models import Step
from validibot.workflows.versions import edited

pytestmark = pytest.mark.django_db


@pytest.fixture
def step(member: Membership) -> Step:
    return StepFactory.create(workflow__organisation=member.organisation)


def ended_run(step: Step, document: bytes = b'{"name": "Ada"}', **fields: Any) -> Run:
    fields = {"status": "SUCCEEDED", "ended_at": "2026-01-31T12:00:00Z"} | fields
    submission = SubmissionFactory.create(
        organisation=step.workflow.organisation, inline=document, name=fields.pop("name", "")
    )
    run = RunFactory.create(workflow=step.workflow, submission=submission, **fields)
    StepRunFactory.create(run=run, step=step, status="PASSED")
    return run


def at(run: Run, path: str = "") -> str:
    return f"/app/orgs/{run.organisation.slug}/runs/{run.pk}/{path}"


@pytest.mark.parametrize("url", ["", "https://traces.example/"])
def test_run_page_links_its_trace_where_a_setting_names_it(
    client: Client, step: Step, settings: Settings, url: str
) -> None:
    settings.TRACES_URL = url
    run = ended_run(step)
    page = client.get(at(run)).content.decode()

    assert (f'href="https://traces.example/{run.pk}"' in page) is bool(url)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", ["broken", "judged", "good"]),
        ("result=pass", ["good"]),
        ("result=fail", ["judged"]),
        ("result=error", ["broken"]),
        ("text=GOO", ["good"]),
        ("person=me", ["judged"]),
        ("before=2026-01-01", []),
        ("workflow=nothing&result=pass", ["good"]),
        ("after=yesterday&result=fail", ["judged"]),
        ("text=%00", ["broken", "judged", "good"]),
    ],
)
def test_filters_select_runs(
    client: Client, member: Membership, step: Step, query: str, shown: list[str]
) -> None:
    ended_run(step, name="good")
    ended_run(
        step,
        name="judged",
        status="FAILED",
        error_category="VALIDATION_FAILED",
        user=member.user,
    )
    ended_run(step, name="broken", status="FAILED", error_category="SYSTEM_ERROR")

    answer = client.get(f"/app/orgs/{member.organisation.slug}/runs/?{query}")

    assert [run.submission.name for run in answer.context["page"].object_list] == shown


@pytest.mark.parametrize(("few", "rare"), [(5, 2), (1, 2), (5, 1)])
def test_text_of_many_submissions_is_found_like_that_of_few(
    client: Client,
    member: Membership,
    step: Step,
    monkeypatch: pytest.MonkeyPatch,
    few: int,
    rare: int,
) -> None:
    monkeypatch.setattr("validibot.runs.filters.RARE", rare)
    for name in ("first reading", "second reading", "other"):
        ended_run(step, name=name)
    monkeypatch.setattr("validibot.runs.filters.FEW", few)

    answer = client.get(f"/app/orgs/{member.organisation.slug}/runs/?text=READING")

    assert {run.submission.name for run in answer.context["page"].object_list} == {
        "first reading",
        "second reading",
    }


def names_of(answer: Any) -> list[str]:
    return [run.submission.name for run in answer.context["page"].object_list]


@pytest.mark.parametrize("finding", ["", "wrong"])
def test_pages_of_runs_follow_each_other_in_both_directions(
    client: Client, step: Step, monkeypatch: pytest.MonkeyPatch, finding: str
) -> None:
    """Also where runs began at the same moment, and in a search that reads two runs at a time."""
    monkeypatch.setattr("validibot.web.runs.RUNS_PER_PAGE", 2)
    monkeypatch.setattr("validibot.runs.listing.SEARCHED_RUNS", 2)
    for _ in range(5):
        run = ended_run(step, name="run", created_at="2026-01-31T11:00:00Z")
        FindingFactory.create(run=run, step_run=run.steps.get(), message="It is wrong.")
    url = f"/app/orgs/{step.workflow.organisation.slug}/runs/"

    def visit(**cursor: str) -> Any:
        return client.get(url, {"finding": finding, **cursor}).context["page"]

    first = visit()
    second = visit(older=first.older)
    third = visit(older=second.older)
    seen = [run.pk for each in (first, second, third) for run in each.object_list]
    assert seen == sorted(Run.objects.values_list("pk", flat=True), reverse=True)
    assert (first.newer, third.older) == ("", "")
    back = visit(newer=third.newer)
    assert back.object_list == second.object_list
    assert visit(newer=back.newer).object_list == first.object_list
    assert visit(older="9999-12-31T23:59:59+23:00_1").object_list == first.object_list


def test_search_in_findings_goes_on_where_it_stopped(
    client: Client, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validibot.runs.filters.READ_FINDINGS", 2)
    found = {"old": "100% wrong_", "middle": "fine", "new": "100 wrong"}
    for name, message in found.items():
        run = ended_run(step, name=name)
        for order in (1, 2):
            FindingFactory.create(run=run, step_run=run.steps.get(), order=order, message=message)
    url = f"/app/orgs/{step.workflow.organisation.slug}/runs/"
    wanted = {"finding": "0% WRONG_"}

    seen = [answer := client.get(url, wanted)]
    while older := answer.context["page"].older:
        seen.append(answer := client.get(url, wanted | {"older": older}))

    assert [names_of(each) for each in seen] == [[], [], ["old"]]
    assert "Search older runs" in seen[0].content.decode()


def test_filters_by_version_person_source_and_day_select_runs(
    client: Client, member: Membership, step: Step
) -> None:
    other = MembershipFactory.create(organisation=member.organisation).user
    step.workflow.organisation.workflows.filter(pk=step.workflow_id).update(version=3)
    ended_run(step, name="mine", user=member.user, source="CLI", created_at="2026-01-31T00:00:00Z")
    ended_run(step, name="theirs", user=other, created_at="2026-01-30T23:59:59Z")
    url = f"/app/orgs/{member.organisation.slug}/runs/"

    assert names_of(client.get(url, {"person": other.pk})) == ["theirs"]
    assert names_of(client.get(url, {"source": "CLI"})) == ["mine"]
    assert names_of(client.get(url, {"after": "2026-01-31"})) == ["mine"]
    assert names_of(client.get(url, {"before": "2026-01-31"})) == ["theirs"]
    assert names_of(client.get(url, {"version": "3"})) == ["mine", "theirs"]
    assert names_of(client.get(url, {"version": "2"})) == []
    # A stranger is reported as a choice that does not exist, and left out.
    assert names_of(client.get(url, {"person": "999999"})) == ["mine", "theirs"]


def test_rerun_repeats_the_submission_in_the_same_version(client: Client, step: Step) -> None:
    first = ended_run(step, b'{"name": "Eve"}', name="nightly")
    with edited(first.workflow) as workflow:
        workflow.name = "Renamed"
        workflow.save()

    answer = client.post(at(first, "rerun/"), {"version": "same"})

    second = Run.objects.exclude(pk=first.pk).get()
    assert answer.headers["Location"] == at(second)
    assert (second.rerun_of, second.workflow) == (first, first.workflow)
    assert second.submission.name == "nightly"
    assert second.submission_id != first.submission_id
    assert b"".join(content.stream(second.submission)) == b'{"name": "Eve"}'


def test_rerun_with_newest_version_uses_it(client: Client, step: Step) -> None:
    first = ended_run(step)
    client.post(at(first, "rerun/"), {"version": "same"})  # freezes the version
    with edited(first.workflow) as workflow:
        workflow.name = "Renamed"
        workflow.save()

    client.post(at(first, "rerun/"), {"version": "newest"})

    newest = Run.objects.latest("created_at")
    assert (newest.workflow.name, newest.workflow.version) == ("Renamed", 2)


def test_run_with_error_offers_a_retry_from_its_failed_step(client: Client, step: Step) -> None:
    run = ended_run(step, status="FAILED", error_category="SYSTEM_ERROR", error="down")
    run.steps.update(status="FAILED", error="down", rules=[])

    assert "Try again from step 1" in client.get(at(run)).content.decode()
    answers = [client.post(at(run, "retry/")) for _ in range(2)]

    retry = Run.objects.get(retry_of=run)
    assert {answer["Location"] for answer in answers} == {at(retry)}
    page = client.get(at(run)).content.decode()
    assert at(retry) in page
    assert "Try again" not in page


def test_run_page_links_no_retry_that_its_reader_may_not_see(
    client: Client, member: Membership, step: Step
) -> None:
    Membership.objects.update(role=Role.EXECUTOR)
    failed: dict[str, Any] = {
        "status": "FAILED",
        "error_category": "SYSTEM_ERROR",
        "error": "down",
    }
    run = ended_run(step, user=member.user, **failed)
    run.steps.update(status="FAILED", error="down", rules=[])
    other = MembershipFactory.create(organisation=member.organisation).user
    retry = ended_run(step, user=other, retry_of=run)

    page = client.get(at(run)).content.decode()

    assert at(retry) not in page
    assert b"Somebody else" in client.post(at(run, "retry/"), follow=True).content


def test_run_that_passed_offers_no_retry(client: Client, step: Step) -> None:
    run = ended_run(step)

    assert "Try again" not in client.get(at(run)).content.decode()
    page = client.post(at(run, "retry/"), follow=True).content.decode()
    assert (
        "The state of this run is “Passed”. Only a run that ended with “Error” or “Timed out”"
        in page
    )


def test_second_click_on_rerun_leads_to_the_same_run(client: Client, step: Step) -> None:
    first = ended_run(step)
    key = client.get(at(first)).context["rerun_key"]

    answers = [client.post(at(first, "rerun/"), {"key": key}) for _ in range(2)]

    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    assert Run.objects.count() == 2


def test_rerun_of_removed_submission_is_refused(
    client: Client, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ended_run(step)

    def gone(file: object) -> None:
        raise ObjectNotFound("gone")

    monkeypatch.setattr("validibot.runs.rerun.stream", gone)

    page = client.post(at(first, "rerun/"), follow=True).content.decode()

    assert "The submitted file is not kept any more." in page
    assert Run.objects.count() == 1


def test_viewer_may_not_rerun(client: Client, member: Membership, step: Step) -> None:
    run = ended_run(step, user=member.user)
    Membership.objects.update(role=Role.VIEWER)

    assert client.post(at(run, "rerun/")).status_code == 403
    assert at(run, "rerun/") not in client.get(at(run)).content.decode()


def test_comparison_tells_new_fixed_and_changed(client: Client, step: Step) -> None:
    step.validator.outputs = [{"slug": "energy", "label": "Energy", "unit": "kWh", "path": ""}]
    step.validator.save()
    before, after = ended_run(step), ended_run(step)
    for run, messages, energy in (
        (before, ["same", "twice", "twice", "old"], 200),
        (after, ["twice", "same", "new"], 150),
    ):
        step_run = run.steps.get()
        step_run.outputs = {"energy": energy}
        step_run.save()
        for line, message in enumerate(messages, start=1):
            FindingFactory.create(run=run, step_run=step_run, message=message, line=line)

    answer = client.get(at(after, f"compare/{before.pk}/"))

    found = answer.context["found"]
    assert [each.message for each in found.new] == ["new"]
    assert sorted(each.message for each in found.fixed) == ["old", "twice"]
    assert found.unchanged_count == 2
    assert [(each.before, each.after, each.percent) for each in found.outputs] == [
        (200, 150, -25.0)
    ]
    assert "-25.0 %" in answer.content.decode()


def test_comparison_with_foreign_run_is_not_found(client: Client, step: Step) -> None:
    foreign = RunFactory.create()

    assert client.get(at(ended_run(step), f"compare/{foreign.pk}/")).status_code == 404


@pytest.mark.parametrize("limit", [10, 10_000])
def test_document_that_cannot_be_shown_says_why(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(documents, "MAX_READ_BYTES", limit)
    document = b"PK\x03\x04\x00" if limit > 10 else b"x" * 11

    with pytest.raises(NotText, match="not text" if limit > 10 else "lies beyond"):
        lines_around(SubmissionFactory.build(inline=document), 1)


def test_document_page_escapes_what_was_submitted(client: Client, step: Step) -> None:
    run = ended_run(step, b"<script>alert(1)</script>\n")

    page = client.get(at(run, "document/?line=1&column=nonsense")).content.decode()

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert 'class="marked"' in page


def test_findings_page_filters_by_rule_and_text(client: Client, step: Step) -> None:
    run = ended_run(step)
    for code, message in (("a.b", "first"), ("a.b", "second"), ("c.d", "third")):
        FindingFactory.create(run=run, step_run=run.steps.get(), code=code, message=message)

    answer = client.get(at(run, "steps/1/findings/?code=a.b&text=SECOND&assertion=x"))

    assert [each.message for each in answer.context["page"].object_list] == ["second"]
    assert answer.context["codes"] == ["a.b", "c.d"]


def test_submitted_file_is_downloaded_as_it_was(client: Client, step: Step) -> None:
    run = ended_run(step, b'{"name": "\xe4"}')

    answer = client.get(at(run, "files/0/"))

    assert streamed(answer) == b'{"name": "\xe4"}'
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert client.get(at(run, "files/7/")).status_code == 404


def test_archive_holds_submission_and_findings(
    client: Client, step: Step, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    run = ended_run(step, b"{}")
    run.submission.filename = "../../etc/passwd"
    run.submission.save()
    FindingFactory.create(run=run, step_run=run.steps.get(), message="Too high.")

    with django_capture_on_commit_callbacks(execute=True):
        early = client.get(at(run, "export/bundle/"), follow=True).content.decode()
    shown = client.get(at(run, "export/bundle/progress/")).content.decode()
    answer = client.get(at(run, "export/bundle/"))

    assert "Your file is being made" in early
    assert "data-start" in shown
    archive = zipfile.ZipFile(io.BytesIO(streamed(answer)))
    assert archive.read("submission/%2E.%2F..%2Fetc%2Fpasswd") == b"{}"
    assert b"Too high." in archive.read("findings.jsonl")
