"""Saved views of the list of runs, and actions on selected runs."""

from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from tests.factories import (
    MembershipFactory,
    RunFactory,
    StepFactory,
    StepRunFactory,
    SubmissionFactory,
)
from validibot.accounts.models import Membership, Role
from validibot.runs.models import Run, SavedView
from validibot.web import saved_views, selection
from validibot.workflows.models import Step

pytestmark = pytest.mark.django_db


@pytest.fixture
def step(member: Membership) -> Step:
    made: Step = StepFactory.create(workflow__organisation=member.organisation)
    return made


def run_of(step: Step, **fields: Any) -> Run:
    submission = SubmissionFactory.create(organisation=step.workflow.organisation, inline=b"{}")
    run: Run = RunFactory.create(workflow=step.workflow, submission=submission, **fields)
    StepRunFactory.create(run=run, step=step)
    return run


def at(member: Membership, path: str = "") -> str:
    return f"/app/orgs/{member.organisation.slug}/runs/{path}"


def act(client: Client, member: Membership, action: str, *runs: object, **fields: str) -> str:
    sent = {"action": action, "run": [str(getattr(run, "pk", run)) for run in runs], **fields}
    return client.post(at(member, "selected/"), sent, follow=True).content.decode()


def test_selected_runs_are_canceled(client: Client, member: Membership, step: Step) -> None:
    first, second = run_of(step), run_of(step)
    ended, other = run_of(step, status="SUCCEEDED"), run_of(step)
    foreign = run_of(StepFactory.create())

    page = act(client, member, "cancel", first, second, ended, foreign, "wrong")

    assert "2 runs were cancelled." in page
    assert "1 run had ended." in page
    pending = Run.objects.filter(status="PENDING")
    assert set(pending) == {other, foreign}


def test_selected_runs_start_again_once(client: Client, member: Membership, step: Step) -> None:
    runs = [run_of(step, status="SUCCEEDED") for _ in range(2)]
    key = "0" * 32

    page = act(client, member, "rerun", *runs, key=key)
    act(client, member, "rerun", *runs, key=key)

    assert "2 runs were started." in page
    assert set(Run.objects.exclude(rerun_of=None).values_list("rerun_of", flat=True)) == {
        run.pk for run in runs
    }
    assert Run.objects.count() == 4


def test_refused_run_is_named_and_quota_ends_the_others(
    client: Client, member: Membership, step: Step
) -> None:
    member.organisation.launch_quota = 1
    member.organisation.save()
    runs = [run_of(step, status="SUCCEEDED") for _ in range(3)]

    page = act(client, member, "rerun", *runs)

    assert "1 run was started." in page
    assert page.count("which is its quota") == 1


def test_large_files_are_not_run_again_at_once(
    client: Client, member: Membership, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MAX_RERUN_BYTES", 1)

    page = act(client, member, "rerun", run_of(step, status="SUCCEEDED"))

    assert "Select fewer runs." in page
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    ("action", "selected", "text"),
    [("cancel", [], "Select the runs first."), ("delete", ["x"], "Choose what is to be done")],
)
def test_incomplete_selection_says_what_is_missing(
    client: Client, member: Membership, action: str, selected: list[str], text: str
) -> None:
    assert text in act(client, member, action, *selected)


def test_viewer_may_not_act_on_runs_of_others(client: Client, step: Step) -> None:
    viewer = MembershipFactory.create(
        organisation=step.workflow.organisation, role=Role.RESULTS_VIEWER
    )
    client.force_login(viewer.user)
    run = run_of(step)

    for action in ("cancel", "rerun"):
        assert "You may not do this with 1 of the runs." in act(client, viewer, action, run)
    assert Run.objects.get().status == "PENDING"


@pytest.mark.parametrize("back", ["https://example.org/", "//example.org", "/app/", "javascript:x"])
def test_selection_leads_back_to_the_list_only(
    client: Client, member: Membership, back: str
) -> None:
    answer = client.post(at(member, "selected/"), {"action": "cancel", "back": back})
    filtered = client.post(at(member, "selected/"), {"back": f"{at(member)}?result=fail"})

    assert answer.headers["Location"] == at(member)
    assert filtered.headers["Location"] == f"{at(member)}?result=fail"


def test_view_keeps_the_filters_that_are_set(client: Client, member: Membership) -> None:
    query = "text=a%26b&result=fail&person=&page=7&unknown=1&source=nowhere"

    answer = client.post(at(member, "views/"), {"name": "Failed", "query": query})

    view = SavedView.objects.get()
    assert view.query == "text=a%26b&result=fail"
    assert answer.headers["Location"] == f"{at(member)}?{view.query}"
    page = client.get(at(member)).content.decode()
    assert f'href="{at(member)}?text=a%26b&amp;result=fail">Failed</a>' in page


def test_view_of_same_name_is_replaced_and_deleted(client: Client, member: Membership) -> None:
    for result in ("fail", "pass"):
        client.post(at(member, "views/"), {"name": "Mine", "query": f"result={result}"})

    view = SavedView.objects.get()
    assert view.query == "result=pass"
    client.post(at(member, "views/delete/"), {"id": view.pk})
    assert not SavedView.objects.exists()


@pytest.mark.parametrize(
    "sent",
    [
        {"name": "", "query": "result=fail"},
        {"name": "x" * 61, "query": "result=fail"},
        {"name": "All", "query": "page=2"},
        {"name": "a\0b", "query": "result=fail"},
        {"name": "All"},
    ],
)
def test_view_without_name_or_filter_is_refused(
    client: Client, member: Membership, sent: dict[str, str]
) -> None:
    page = client.post(at(member, "views/"), sent, follow=True).content.decode()

    assert "Give the view a name" in page
    assert not SavedView.objects.exists()


def test_filters_that_are_too_long_are_not_saved(client: Client, member: Membership) -> None:
    query = urlencode({"text": "\N{BAR CHART}" * 100})

    page = client.post(at(member, "views/"), {"name": "Long", "query": query}, follow=True)

    assert "Shorten their text." in page.content.decode()
    assert not SavedView.objects.exists()


def test_number_of_views_is_limited(
    client: Client, member: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_views, "MAX_VIEWS", 1)
    client.post(at(member, "views/"), {"name": "One", "query": "result=fail"})

    page = client.post(
        at(member, "views/"), {"name": "Two", "query": "result=fail"}, follow=True
    ).content.decode()

    assert "You have 1 saved views." in page
    assert SavedView.objects.count() == 1


def test_views_of_others_are_neither_shown_nor_deleted(client: Client, member: Membership) -> None:
    other = MembershipFactory.create(organisation=member.organisation)
    view = SavedView.objects.create(
        organisation=member.organisation, user=other.user, name="Theirs", query="result=fail"
    )

    client.post(at(member, "views/delete/"), {"id": view.pk})

    assert "Theirs" not in client.get(at(member)).content.decode()
    assert SavedView.objects.exists()
