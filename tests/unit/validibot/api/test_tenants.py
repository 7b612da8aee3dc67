"""Separation of organisations and roles in the API."""

from http import HTTPStatus

import pytest

from tests.factories import ArtifactFactory, StepRunFactory
from tests.unit.validibot.api.conftest import Api
from validibot.accounts.models import Membership, Organisation, User
from validibot.runs.models import Run
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db

OF_A_RUN = [
    ("get", "runs/{run}/"),
    ("get", "runs/{run}/events/"),
    ("post", "runs/{run}/cancel/"),
    ("get", "runs/{run}/artifacts/{artifact}/"),
]
OF_A_WORKFLOW = [
    ("get", "workflows/people/"),
    ("get", "workflows/{workflow}/"),
    ("post", "workflows/people/runs/"),
    ("post", "workflows/{workflow}/runs/"),
]


@pytest.fixture
def ids(people: Workflow, alice: Api) -> dict[str, object]:
    """Alice's run of her workflow, with an artifact."""
    author = User.objects.get(email="alice@example.com")
    step_run = StepRunFactory.create(
        run__workflow=people, run__user=author, step=people.steps.get()
    )
    artifact = ArtifactFactory.create(step_run=step_run)
    return {"run": step_run.run_id, "artifact": artifact.pk, "workflow": people.pk}


def status(api: Api, org: str, method: str, path: str, ids: dict[str, object]) -> int:
    return int(getattr(api, method)(f"orgs/{org}/{path.format(**ids)}").status_code)


@pytest.mark.parametrize(("method", "path"), OF_A_RUN + OF_A_WORKFLOW)
def test_foreign_objects_are_not_found_in_any_organisation(
    charlie: Api, ids: dict[str, object], method: str, path: str
) -> None:
    own = Organisation.objects.create(name="Own", slug="own")
    user = User.objects.get(email="charlie@example.com")
    Membership.objects.create(organisation=own, user=user, role="owner")

    assert status(charlie, "acme", method, path, ids) == HTTPStatus.NOT_FOUND
    assert status(charlie, "own", method, path, ids) == HTTPStatus.NOT_FOUND
    assert Run.objects.get().status == "PENDING"


@pytest.mark.parametrize(("method", "path"), OF_A_RUN)
def test_runs_of_others_are_not_found_by_viewer(
    victor: Api, ids: dict[str, object], method: str, path: str
) -> None:
    assert status(victor, "acme", method, path, ids) == HTTPStatus.NOT_FOUND
    assert victor.get("orgs/acme/runs/").json()["results"] == []


def test_missing_api_key_returns_401_everywhere(anonymous: Api, ids: dict[str, object]) -> None:
    for method, path in OF_A_RUN + OF_A_WORKFLOW:
        assert status(anonymous, "acme", method, path, ids) == HTTPStatus.UNAUTHORIZED
