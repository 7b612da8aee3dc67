"""Separation of organisations and roles on the pages."""

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
def test_foreign_pages_are_not_found(method: str, path: str) -> None:
    theirs = Theirs()
    outsider = MembershipFactory.create().user

    assert visit(outsider, theirs.org, method, path, **theirs.ids) == HTTPStatus.NOT_FOUND
    assert Run.objects.get().status == "PENDING"


@pytest.mark.parametrize(("method", "path"), [page for page in PAGES if "{" in page[1]])
def test_foreign_objects_are_not_found_under_own_organisation(method: str, path: str) -> None:
    theirs = Theirs()
    mine = MembershipFactory.create()

    status = visit(mine.user, mine.organisation.slug, method, path, **theirs.ids)
    assert status == HTTPStatus.NOT_FOUND
    assert Run.objects.get().status == "PENDING"


@pytest.mark.parametrize(("method", "path"), PAGES)
def test_signed_out_visitor_is_redirected(method: str, path: str) -> None:
    theirs = Theirs()

    assert visit(None, theirs.org, method, path, **theirs.ids) in (302, 404)
    assert Run.objects.get().status == "PENDING"


@pytest.mark.parametrize(("method", "path"), PAGES[6:])
def test_runs_of_others_are_hidden_from_viewer(method: str, path: str) -> None:
    theirs = Theirs()
    viewer = MembershipFactory.create(
        organisation=theirs.owner.organisations.get(), role=Role.VIEWER
    )

    assert visit(viewer.user, theirs.org, method, path, **theirs.ids) == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("path", [PAGES[2][1], PAGES[4][1]])
def test_launch_by_viewer_answers_403(path: str) -> None:
    theirs = Theirs()
    viewer = MembershipFactory.create(
        organisation=theirs.owner.organisations.get(), role=Role.VIEWER
    )

    assert visit(viewer.user, theirs.org, "post", path, **theirs.ids) == HTTPStatus.FORBIDDEN
    assert Run.objects.count() == 1


def test_foreign_api_key_cannot_be_revoked(client: Client) -> None:
    key = ApiKeyFactory.create()
    client.force_login(UserFactory.create())
    client.post(f"/app/users/api-key/{key.pk}/revoke/")

    assert ApiKey.objects.get().revoked_at is None


def test_form_without_csrf_token_is_refused() -> None:
    theirs = Theirs()
    client = Client(enforce_csrf_checks=True)
    client.force_login(theirs.owner)

    answer = client.post(f"/app/orgs/{theirs.org}/runs/{theirs.ids['run']}/cancel/")

    assert (answer.status_code, Run.objects.get().status) == (403, "PENDING")


def test_pages_send_a_content_security_policy(client: Client) -> None:
    theirs = Theirs()
    client.force_login(theirs.owner)
    answer = client.get(f"/app/orgs/{theirs.org}/runs/")

    policy = answer.headers["Content-Security-Policy"]
    assert {"default-src 'self'", "form-action 'self'", "frame-ancestors 'none'"} <= set(
        policy.split("; ")
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
