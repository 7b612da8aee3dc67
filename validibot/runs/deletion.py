"""Deletion of tenants, users, workflows and submissions, with their runs and stored files.

A foreign key of a run restricts: a workflow or submission with runs is not deleted by accident. The
admin site asks for a confirmation that states how much will go, then enqueues one of the tasks here.
A task deletes in batches and may be delivered again after any interruption: files are found by the
prefix of their owner, also when its row has gone already.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q, QuerySet, Sum
from django.tasks import task
from django.utils import timezone

from validibot.accounts import audit
from validibot.accounts.deletion import delete_user_rows
from validibot.accounts.models import Organisation, User
from validibot.core.models import RowId
from validibot.dispatch import TryLater
from validibot.dispatch.files import delete_files
from validibot.notifications.models import Notification
from validibot.runs.backends.base import StateUnavailable
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Attempt, ExportFile, Run
from validibot.runs.registration import remove_lost_jobs
from validibot.runs.states import RunStatus
from validibot.submissions import content
from validibot.submissions.models import Submission
from validibot.workflows.editing import rows_by_slug
from validibot.workflows.images import images_of
from validibot.workflows.models import OrganisationAiEndpoint, Workflow

BATCH = 200

logger = logging.getLogger(__name__)
_UNFINISHED = (RunStatus.PENDING, RunStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class DeletionExtent:
    """How much goes with an object."""

    workflows: int
    runs: int
    submissions: int
    bytes: int
    ai_endpoints: int = 0

    def lines(self) -> list[str]:
        """Return the extent for a confirmation page."""
        endpoint = ["the AI endpoint with its key"] if self.ai_endpoints else []
        return [
            f"{self.workflows:,} workflow versions",
            f"{self.runs:,} runs with their findings, artifacts and evidence",
            f"{self.submissions:,} submissions",
            f"{self.bytes:,} bytes of stored files",
            *endpoint,
        ]


def extent_of(row: models.Model) -> DeletionExtent:
    """Return how much is deleted with an organisation, a user, a workflow or a submission."""
    runs, submissions = _runs_of(row), _submissions_of(row)
    stored = submissions.aggregate(total=Sum("size_bytes"))["total"] or 0
    stored += submissions.aggregate(total=Sum("files__size_bytes"))["total"] or 0
    artifacts = runs.aggregate(total=Sum("artifacts__size_bytes"))["total"] or 0
    workflows = Workflow.objects.filter(organisation__in=_organisations_of(row)).count()
    return DeletionExtent(
        workflows=1 if isinstance(row, Workflow) else workflows,
        runs=runs.count(),
        submissions=submissions.count(),
        bytes=stored + artifacts,
        ai_endpoints=OrganisationAiEndpoint.objects.filter(
            organisation__in=_organisations_of(row)
        ).count(),
    )


@transaction.atomic
def request_deletion(row: models.Model) -> None:
    """Enqueue the task that deletes the object and everything of it.

    From now on it takes no runs: a tenant that goes on starting them cannot postpone the deletion.
    """
    marked = _organisations_of(row).update(deletion_requested_at=timezone.now())
    if marked and isinstance(row, Organisation):
        audit.record(row, "organisation.deletion_requested", row)
    match row:
        case Organisation():
            delete_organisation.enqueue(row.pk)
        case User():
            ExportFile.objects.filter(user=row).delete()
            workspace = Organisation.objects.filter(personal_owner=row).first()
            delete_user.enqueue(row.pk, workspace.pk if workspace else 0)
        case Workflow():
            Workflow.objects.filter(pk=row.pk).update(is_active=False)
            delete_workflow.enqueue(row.pk)
        case Submission():
            delete_submission.enqueue(str(row.pk))
        case _:
            raise TypeError(f"{type(row).__name__} has no deletion task.")


@task
def delete_organisation(organisation_id: int) -> None:
    """Delete an organisation with everything in it, then its files."""
    delete_runs(Run.objects.filter(organisation_id=organisation_id))
    with transaction.atomic():
        images_of(organisation_id).delete()  # the cascade would load all of them with their content
        Organisation.objects.filter(pk=organisation_id).delete()
    for kind in ("runs", "submissions"):
        delete_files(f"{settings.DATA_ROOT}/{kind}/{organisation_id}/")
    try:
        remove_lost_jobs()
    except StateUnavailable as error:
        # The purge removes them; a right that the worker lacks must not repeat this task for ever.
        logger.warning("jobs of organisation %s are removed later: %s", organisation_id, error)


@task
def delete_user(user_id: int, workspace_id: int) -> None:
    """Delete a user with the personal workspace; runs in other organisations stay."""
    # The archive first: executions in the workspace may take their time to end. A task that is writing
    # it deletes its file itself, as the row is gone.
    ExportFile.objects.filter(user=user_id).delete()
    delete_files(f"{settings.DATA_ROOT}/accounts/{user_id}/")
    if workspace_id:
        delete_organisation.func(workspace_id)
    delete_user_rows(user_id)


@task
def delete_workflow(workflow_id: int) -> None:
    """Delete a version of a workflow with its runs and their submissions.

    With the last version go grants, links, schedules and what else names its slug: a later workflow may
    get the same slug.
    """
    delete_runs(Run.objects.filter(workflow_id=workflow_id))
    for workflow in Workflow.objects.filter(pk=workflow_id).select_related("organisation"):
        owner = workflow.organisation
        with transaction.atomic():
            workflow.delete()
            if not owner.workflows.filter(slug=workflow.slug).exists():
                for rows in rows_by_slug(workflow):
                    rows.delete()


@task
def delete_submission(submission_id: RowId) -> None:
    """Delete a submission with its run."""
    delete_runs(Run.objects.filter(submission_id=submission_id))
    for submission in Submission.objects.filter(pk=submission_id):
        delete_files(content.folder_of(submission))
        submission.delete()


def delete_runs(runs: "QuerySet[Run]") -> None:
    """Delete runs with their submissions and files, in batches.

    Runs that go on are cancelled first. Raises TryLater while executions of theirs have not ended.
    """
    for run_id in runs.filter(status__in=_UNFINISHED).values_list("pk", flat=True):
        cancel_run(run_id, actor="deletion")
    living = Attempt.objects.filter(
        step_run__run__in=runs, cancel_requested_at__isnull=False, execution_ended_at=None
    )
    if living.exists():
        raise TryLater("Executions of the runs are being cancelled.")
    for batch in _batches(runs):
        # First: a task that is writing one of them then deletes its file itself.
        ExportFile.objects.filter(run__in=[each[0] for each in batch]).delete()
        for run_pk, submission_id, organisation_id in batch:
            delete_files(f"{settings.DATA_ROOT}/runs/{organisation_id}/{run_pk}/")
            delete_files(_submission_folder(organisation_id, submission_id))
        with transaction.atomic():
            keys = [each[0] for each in batch]
            Notification.objects.filter(run__in=keys).delete()
            Run.objects.filter(pk__in=keys).delete()
            Submission.objects.filter(pk__in=[each[1] for each in batch]).delete()


def _batches(runs: "QuerySet[Run]") -> Iterator[list[tuple[UUID, UUID, int]]]:
    fields = ("pk", "submission_id", "organisation_id")
    while batch := list(runs.order_by("pk").values_list(*fields)[:BATCH]):
        yield batch


def _submission_folder(organisation_id: int, submission_id: object) -> str:
    return f"{settings.DATA_ROOT}/submissions/{organisation_id}/{submission_id}/"


def _organisations_of(row: models.Model) -> "QuerySet[Organisation]":
    if isinstance(row, Organisation):
        return Organisation.objects.filter(pk=row.pk)
    if isinstance(row, User):
        return Organisation.objects.filter(personal_owner=row)
    return Organisation.objects.none()


def _runs_of(row: models.Model) -> "QuerySet[Run]":
    if isinstance(row, Workflow):
        return Run.objects.filter(workflow=row)
    if isinstance(row, Submission):
        return Run.objects.filter(submission=row)
    return Run.objects.filter(organisation__in=_organisations_of(row))


def _submissions_of(row: models.Model) -> "QuerySet[Submission]":
    if isinstance(row, Submission):
        return Submission.objects.filter(pk=row.pk)
    owned = Q(organisation__in=_organisations_of(row))
    if isinstance(row, Workflow):
        owned = Q(run__workflow=row)
    return Submission.objects.filter(owned)
