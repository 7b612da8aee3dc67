"""Pages show what is one's own: an organisation's to its members, a run to who may see it."""

from http import HTTPStatus
from typing import Any

import pytest
from django.test import Client

from tests.factories import (
    ApiKeyFactory,
    ArtifactFactory,
    MembershipFactory,
    RunFactory,
    StepFactory,
    StepRunFactory,
    UserFactory,
)
from validibot.accounts.models import ApiKey, Role
from validibot.runs.models import Run
from validibot.workflows.models import Sample

pytestmark = pytest.mark.django_db

PAGES = [
    ("get", "workflows/"),
    ("get", "workflows/{slug}/"),
    ("post", "workflows/{slug}/"),
    ("get", "workflows/{slug}/samples/{sample}/"),
    ("post", "workflows/{slug}/samples/{sample}/launch/"),
    ("get", "runs/"),
    ("get", "runs/{run}/"),
    ("get", "runs/{run}/stream/"),
    ("post", "runs/{run}/cancel/"),
    ("get", "runs/{run}/artifacts/{artifact}/"),
    ("get", "runs/{run}/steps/1/findings/"),
]


class Theirs:
    """An organisation with a workflow, a sample, and a run that left an artifact."""

    def __init__(self) -> None:
        self.owner = MembershipFactory.create().user
        step = StepFactory.create(workflow__organisation=self.owner.organisations.get())
        self.org = step.workflow.organisation.slug
        run = RunFactory.create(workflow=step.workflow, user=self.owner)
        artifact = ArtifactFactory.create(step_run=StepRunFactory.create(run=run, step=step))
        sample = Sample.objects.create(
            workflow=step.workflow, filename="a.json", content=b"{}", passes=True
        )
        self.ids = {
            "slug": step.workflow.slug,
            "run": run.pk,
            "sample": sample.pk,
            "artifact": artifact.pk,
        }


def visit(user: Any, org: str, method: str, path: str, **ids: Any) -> int:
    client = Client()
    if user:
        client.force_login(user)
    answer = client.generic(method.upper(), f"/app/orgs/{org}/{path.format(**ids)}")
    return int(answer.status_code)


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_a_stranger_finds_nothing(method: str, path: str) -> None:
    theirs = Theirs()
    stranger = MembershipFactory.create().user

    assert visit(stranger, theirs.org, method, path, **theirs.ids) == HTTPStatus.NOT_FOUND
    assert Run.objects.get().status == "PENDING"


@pytest.mark.parametrize(("method", "path"), [page for page in PAGES if "{" in page[1]])
def test_what_is_theirs_is_not_found_under_ones_own_name(method: str, path: str) -> None:
    theirs = Theirs()
    mine = MembershipFactory.create()

    status = visit(mine.user, mine.organisation.slug, method, path, **theirs.ids)
    assert status == HTTPStatus.NOT_FOUND
    assert Run.objects.get().status == "PENDING"


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_who_is_not_signed_in_gets_nowhere(method: str, path: str) -> None:
    theirs = Theirs()

    assert visit(None, theirs.org, method, path, **theirs.ids) in (302, 404)
    assert Run.objects.get().status == "PENDING"


@pytest.mark.parametrize(("method", "path"), PAGES[6:])
def test_a_viewer_does_not_see_the_runs_of_others(method: str, path: str) -> None:
    theirs = Theirs()
    viewer = MembershipFactory.create(
        organisation=theirs.owner.organisations.get(), role=Role.VIEWER
    )

    assert visit(viewer.user, theirs.org, method, path, **theirs.ids) == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("path", [PAGES[2][1], PAGES[4][1]])
def test_a_viewer_launches_nothing(path: str) -> None:
    theirs = Theirs()
    viewer = MembershipFactory.create(
        organisation=theirs.owner.organisations.get(), role=Role.VIEWER
    )

    assert visit(viewer.user, theirs.org, "post", path, **theirs.ids) == HTTPStatus.FORBIDDEN
    assert Run.objects.count() == 1


def test_the_key_of_another_cannot_be_revoked(client: Client) -> None:
    key = ApiKeyFactory.create()
    client.force_login(UserFactory.create())
    client.post(f"/app/users/api-key/{key.pk}/revoke/")

    assert ApiKey.objects.get().revoked_at is None


def test_a_page_is_not_submitted_without_its_token() -> None:
    theirs = Theirs()
    client = Client(enforce_csrf_checks=True)
    client.force_login(theirs.owner)

    answer = client.post(f"/app/orgs/{theirs.org}/runs/{theirs.ids['run']}/cancel/")

    assert (answer.status_code, Run.objects.get().status) == (403, "PENDING")


def test_pages_run_and_send_nothing_foreign(client: Client) -> None:
    theirs = Theirs()
    client.force_login(theirs.owner)
    answer = client.get(f"/app/orgs/{theirs.org}/runs/")

    policy = answer.headers["Content-Security-Policy"]
    assert {"default-src 'self'", "form-action 'self'", "frame-ancestors 'none'"} <= set(
        policy.split("; ")
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
