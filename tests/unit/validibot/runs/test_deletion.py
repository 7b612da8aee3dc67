"""Deletion of organisations, users, workflows and submissions that have runs."""

import datetime as dt
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from django.db.models import RestrictedError
from django.test import Client
from django.utils import timezone

from tests.factories import (
    ArtifactFactory,
    AttemptFactory,
    FindingFactory,
    StepFactory,
    UserFactory,
    ValidatorFactory,
    WorkflowFactory,
    started_run,
)
from validators.sdk.storage.file import FileStorage
from validibot.accounts.models import Organisation, User
from validibot.accounts.workspaces import ensure_personal_workspace
from validibot.core.storage import StorageError, get_storage
from validibot.dispatch import TryLater
from validibot.runs.access import NotAdmitted
from validibot.runs.deletion import delete_runs, extent_of, request_deletion
from validibot.runs.models import Attempt, Run, RunEvent
from validibot.runs.start import start
from validibot.submissions.content import Incoming
from validibot.submissions.models import Submission
from validibot.workflows import badges, links
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_ROOT = tmp_path.as_uri()
    return tmp_path


@pytest.fixture
def run(root: Path) -> Run:
    """An ended run with a finding and two files."""
    return ended_run(root)


def ended_run(root: Path) -> Run:
    run = started_run(step=StepFactory.create())
    Run.objects.filter(pk=run.pk).update(status="SUCCEEDED")
    FindingFactory.create(step_run=run.steps.get())
    for folder in (f"runs/{run.organisation_id}/{run.pk}", _submission_folder(run)):
        uri = f"{root.as_uri()}/{folder}/file"
        get_storage(uri).create(uri, BytesIO(b"x"), mime_type="text/plain")
    return run


def _submission_folder(run: Run) -> str:
    return f"submissions/{run.organisation_id}/{run.submission_id}"


def files(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("what", ["organisation", "workflow", "submission"])
def test_deletion_removes_runs_submissions_and_files_of_its_own(
    root: Path, run: Run, what: str
) -> None:
    other = ended_run(root)

    request_deletion(getattr(run, what))

    assert Run.objects.get() == other
    assert Submission.objects.get() == other.submission
    assert sorted(files(root)) == ["file", "file"]
    assert Organisation.objects.filter(pk=run.organisation_id).exists() == (what != "organisation")
    assert Workflow.objects.filter(pk=run.workflow_id).exists() == (what == "submission")
    assert Organisation.objects.get(pk=other.organisation_id).deletion_requested_at is None


@pytest.mark.parametrize("has_version", [False, True])
def test_deletion_of_last_version_ends_its_links(root: Path, run: Run, has_version: bool) -> None:
    workflow, user = run.workflow, UserFactory.create()
    if has_version:
        WorkflowFactory.create(
            organisation=workflow.organisation, slug=workflow.slug, version=workflow.version + 1
        )
    badges.create(workflow, user=user)
    links.create(workflow, user=user, name="all", lifetime=dt.timedelta(1), max_launches=1)

    request_deletion(workflow)

    kept = [workflow.organisation.badges.count(), workflow.organisation.launch_links.count()]
    assert kept == [has_version, has_version]


def test_deletion_of_user_removes_workspace(root: Path) -> None:
    user = User.objects.create_user("ann@example.com")
    workspace = ensure_personal_workspace(user)
    started_run(step=StepFactory.create(workflow__organisation=workspace))

    request_deletion(user)

    assert not User.objects.exists()
    assert not Organisation.objects.exists()
    assert not Run.objects.exists()


def test_deletion_is_repeatable(root: Path, run: Run) -> None:
    organisation = run.organisation
    request_deletion(organisation)

    request_deletion(organisation)

    assert not Organisation.objects.exists()


def test_workflow_with_runs_is_not_deleted_by_accident(run: Run) -> None:
    with pytest.raises(RestrictedError):
        run.workflow.delete()


def test_organisation_with_runs_can_be_deleted_by_orm(run: Run) -> None:
    run.organisation.delete()

    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("what", "workflows"), [("organisation", 1), ("workflow", 1), ("submission", 0)]
)
def test_extent_counts_what_goes(root: Path, run: Run, what: str, workflows: int) -> None:
    ended_run(root)
    ArtifactFactory.create(step_run=run.steps.get(), size_bytes=1000)

    extent = extent_of(getattr(run, what))

    assert (extent.workflows, extent.runs, extent.submissions) == (workflows, 1, 1)
    assert extent.bytes == run.submission.size_bytes + 1000


def test_admin_site_confirms_with_extent_and_deletes(run: Run, client: Client) -> None:
    client.force_login(User.objects.create_superuser("root@example.com"))
    path = f"/admin/accounts/organisation/{run.organisation_id}/delete/"

    assert "1 runs with their findings" in client.get(path).content.decode()
    answer = client.post(path, {"post": "yes"})

    assert answer.status_code == 302
    assert not Run.objects.exists()


@pytest.mark.parametrize(("what", "status"), [("organisation", 410), ("workflow", 409)])
def test_launch_during_deletion_is_refused(run: Run, settings: Any, what: str, status: int) -> None:
    """Executions may take a while to end; new runs must not postpone the deletion."""
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}
    request_deletion(getattr(run, what))
    workflow = Workflow.objects.get(pk=run.workflow_id)
    incoming = Incoming(BytesIO(b"{}"), "a.json", 2, "0" * 64)

    with pytest.raises(NotAdmitted) as caught:
        start(workflow, incoming, user=None, source=Run.Source.API)

    assert caught.value.status == status
    assert Run.objects.count() == 1


def test_deletion_waits_for_executions_of_cancelled_runs(root: Path) -> None:
    run = started_run(step=StepFactory.create(validator=ValidatorFactory.create(container=True)))
    Run.objects.update(status="RUNNING")
    AttemptFactory.create(step_run=run.steps.get(), state="RUNNING")

    with pytest.raises(TryLater, match=r"^Executions of the runs are being cancelled\.$"):
        delete_runs(Run.objects.all())

    event = RunEvent.objects.get(run=run)
    assert (event.kind, event.actor) == ("canceled", "deletion")
    Attempt.objects.update(execution_ended_at=timezone.now())
    delete_runs(Run.objects.all())
    assert not Run.objects.exists()


def test_deletion_without_storage_is_repeated(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    error = StorageError("out of reach")
    monkeypatch.setattr(FileStorage, "delete_below", Mock(side_effect=error))

    with pytest.raises(TryLater, match="out of reach"):
        delete_runs(Run.objects.all())

    assert Run.objects.get() == run
