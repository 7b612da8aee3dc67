"""The badge of a workflow: create, find and remove it."""

from django.db import transaction

from validibot.accounts import audit
from validibot.accounts.models import User
from validibot.accounts.regions import served_here
from validibot.core.tokens import new_token
from validibot.workflows.models import Workflow, WorkflowBadge


def badge_of(workflow: Workflow) -> WorkflowBadge | None:
    """Return the badge of a workflow, if it has one."""
    return WorkflowBadge.objects.filter(
        organisation=workflow.organisation_id, workflow=workflow.slug
    ).first()


def find(token: str) -> WorkflowBadge | None:
    """Return the badge with this token; None also if its organisation is being deleted."""
    found = WorkflowBadge.objects.filter(
        served_here("organisation"), token=token, organisation__deletion_requested_at=None
    )
    return found.first()


@transaction.atomic
def create(workflow: Workflow, *, user: User) -> WorkflowBadge:
    """Return the badge of a workflow, and create it if there is none."""
    Workflow.locked(workflow.pk)
    if existing := badge_of(workflow):
        return existing
    audit.record(workflow.organisation, "workflow.badge_created", workflow.slug)
    return WorkflowBadge.objects.create(
        organisation=workflow.organisation,
        workflow=workflow.slug,
        token=new_token(),
        created_by=user,
    )


@transaction.atomic
def remove(workflow: Workflow) -> None:
    """Remove the badge of a workflow; its address is unknown from now on."""
    badge = badge_of(workflow)
    if badge and badge.delete()[0]:
        audit.record(workflow.organisation, "workflow.badge_removed", workflow.slug)
