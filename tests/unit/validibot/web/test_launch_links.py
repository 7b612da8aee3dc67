"""Launch links: a public page that starts a limited number of runs and shows nothing else."""

import datetime as dt
import re
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from tests.factories import FindingFactory, MembershipFactory, StepFactory, UserFactory
from validibot.accounts.models import Role
from validibot.core.throttle import FailureLimit
from validibot.runs.execute import execute
from validibot.runs.models import Run
from validibot.web import launch_links
from validibot.workflows import editing, links
from validibot.workflows.models import LaunchLink, Workflow

pytestmark = pytest.mark.django_db


@pytest.fixture
def workflow() -> Workflow:
    member = MembershipFactory.create(role=Role.AUTHOR, organisation__name="Secret Ltd")
    made: Workflow = StepFactory.create(
        workflow__organisation=member.organisation, workflow__author=member.user
    ).workflow
    return made


def link(workflow: Workflow, *, max_launches: int = 2) -> str:
    assert workflow.author
    _, token = links.create(
        workflow,
        user=workflow.author,
        name="Suppliers",
        lifetime=dt.timedelta(days=1),
        max_launches=max_launches,
    )
    return f"/launch/{token}/"


def sent(client: Client, url: str, content: bytes = b'{"name": "Ada"}', **fields: str) -> Any:
    return client.post(url, {"file": SimpleUploadedFile("a.json", content)} | fields)


def test_anybody_with_the_link_starts_a_run_and_sees_its_result(
    client: Client, workflow: Workflow
) -> None:
    url = link(workflow)
    shown = client.get(url).content.decode()
    answer = sent(client, url, b"{}", scenario="fail(3)", weather="Paris")
    run = Run.objects.get()
    execute(run.pk)

    result = client.get(answer.headers["Location"]).content.decode()
    assert (run.source, run.user, run.scenario) == ("LINK", None, "")
    assert 'data-result="FAIL"' in result
    assert run.findings.get().message.replace("'", "&#x27;").replace('"', "&quot;") in result
    for page in (shown, result):
        assert workflow.name in page
        assert not re.search("Secret Ltd|/app/orgs/|Suppliers|@", page)


def test_result_groups_findings_by_rule(client: Client, workflow: Workflow) -> None:
    location = sent(client, link(workflow)).headers["Location"]
    run = Run.objects.get()
    for line in range(1, 8):
        FindingFactory.create(step_run=run.steps.get(), message=f"Reading {line}.", line=line)

    page = client.get(location).content.decode()

    assert "7 errors" in page
    assert ("Reading 5." in page, "Reading 6." in page) == (True, False)


def test_full_quota_is_shown_without_the_organisation(client: Client, workflow: Workflow) -> None:
    workflow.organisation.launch_quota = 1
    workflow.organisation.save()
    url = link(workflow)
    sent(client, url)

    refused = sent(client, url)

    assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)
    assert "takes no files at the moment" in refused.content.decode()
    assert "Secret Ltd" not in refused.content.decode()
    assert LaunchLink.objects.get().launches == 1


def test_link_starts_no_more_runs_than_it_may(client: Client, workflow: Workflow) -> None:
    url = link(workflow, max_launches=1)

    assert sent(client, url, b"").status_code == 400
    assert LaunchLink.objects.get().launches == 0
    first = sent(client, url)
    again, shown = sent(client, url), client.get(url)
    result = client.get(first.headers["Location"])

    assert (again.status_code, shown.status_code, result.status_code) == (410, 410, 200)
    assert Run.objects.count() == 1


def test_refused_launch_is_given_back(client: Client, workflow: Workflow) -> None:
    url = link(workflow)
    file = SimpleUploadedFile("a.exe", b"MZ")

    assert client.post(url, {"file": file}).status_code == 400
    assert LaunchLink.objects.get().launches == 0


def test_launch_counts_although_the_queue_is_away(
    client: Client, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run) -> None:
        raise OSError("The queue cannot be reached.")

    monkeypatch.setattr("validibot.runs.start.queue.enqueue_run", fail)

    with pytest.raises(OSError, match="cannot be reached"):
        sent(client, link(workflow))

    assert (Run.objects.count(), LaunchLink.objects.get().launches) == (1, 1)


def test_two_launches_at_the_end_take_one_place(workflow: Workflow) -> None:
    link(workflow, max_launches=1)
    seen = [LaunchLink.objects.get(), LaunchLink.objects.get()]

    assert [links.take(each) for each in seen] == [True, False]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"revoked_at": timezone.now()}, "revoked"),
        ({"expires_at": timezone.now() - dt.timedelta(seconds=1)}, "expired"),
    ],
)
def test_closed_link_says_why(
    client: Client, workflow: Workflow, changes: dict[str, Any], text: str
) -> None:
    url = link(workflow)
    LaunchLink.objects.update(**changes)

    for answer in (client.get(url), sent(client, url)):
        assert (answer.status_code, text in answer.content.decode()) == (410, True)
    assert not Run.objects.exists()


def test_result_needs_the_signature_of_its_own_link(client: Client, workflow: Workflow) -> None:
    url, other = link(workflow), link(workflow)
    result = sent(client, url).headers["Location"]

    for wrong in (
        result.replace(url, other),
        f"{url}runs/{Run.objects.get().pk}/",
        f"{url}runs/x~y/",
    ):
        assert client.get(wrong).status_code == 404
    LaunchLink.objects.update(revoked_at=timezone.now())
    assert client.get(result).status_code == 404


def test_launches_of_one_address_are_limited(
    client: Client, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch_links, "LAUNCHES", FailureLimit("few", count=1, seconds=60))
    url = link(workflow)

    assert sent(client, url).status_code == 302
    limited = sent(client, url)
    assert (limited.status_code, "Retry-After" in limited.headers) == (429, True)


def test_pages_of_a_link_are_not_indexed(client: Client, workflow: Workflow) -> None:
    url = link(workflow)

    for answer in (client.get(url), client.get(sent(client, url).headers["Location"])):
        assert answer.headers["X-Robots-Tag"].startswith("noindex")
        assert "no-store" in answer.headers["Cache-Control"]


def test_deletion_of_the_organisation_closes_its_links(client: Client, workflow: Workflow) -> None:
    url = link(workflow)
    result = sent(client, url).headers["Location"]

    workflow.organisation.deletion_requested_at = timezone.now()
    workflow.organisation.save()

    assert [client.get(each).status_code for each in (url, result)] == [404, 404]


def test_number_of_open_links_is_limited(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "MAX_LINKS", 1)
    link(workflow)

    with pytest.raises(ValidationError, match="at most 1 open links"):
        link(workflow)


def test_link_follows_its_workflow(client: Client, workflow: Workflow) -> None:
    url = link(workflow)
    editing.rename(workflow, "other")
    assert client.get(url).status_code == 200

    editing.archive(workflow)
    assert client.get(url).status_code == 410
    editing.delete(workflow)
    assert client.get(url).status_code == 404


def test_author_creates_and_revokes_a_link(client: Client, workflow: Workflow) -> None:
    assert workflow.author
    client.force_login(workflow.author)
    base = f"/app/orgs/{workflow.organisation.slug}/workflows/{workflow.slug}/sharing/"

    wrong = client.post(base, {"name": "", "days": "9000", "max_launches": "0"})
    made = client.post(base, {"name": "Suppliers", "days": "30", "max_launches": "5"})

    assert (wrong.status_code, made.status_code) == (422, 200)
    [url] = re.findall(r"/launch/[\w-]{43}/", made.content.decode())
    assert url not in client.get(base).content.decode()
    assert '<span class="chip quiet">left</span>' not in client.get(base).content.decode()
    LaunchLink.objects.update(created_by=UserFactory.create())
    assert '<span class="chip quiet">left</span>' in client.get(base).content.decode()
    client.post(f"{base}links/{LaunchLink.objects.get().pk}/revoke/")
    assert client.get(url).status_code == 410
