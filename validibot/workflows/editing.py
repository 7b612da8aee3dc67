"""Edits of workflows: create, change, clone, archive and delete, safe against a second editor.

An edit always goes to the newest version; a version with runs gets a next version instead. Every form
holds the token of the version that its author saw. The token is compared and advanced in one
transaction with the edit, so of two edits of the same state the second one is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet

from validibot.accounts import audit
from validibot.accounts.models import Organisation, Project, User, WorkflowGrant
from validibot.core.echo import echo
from validibot.core.site_limits import check_room
from validibot.core.slugs import free_slug
from validibot.tracking.events import track
from validibot.tracking.models import EventName
from validibot.workflows.models import (
    LaunchLink,
    Workflow,
    WorkflowBadge,
    WorkflowImage,
    WorkflowSchedule,
    latest_versions,
)
from validibot.workflows.versions import copy_version, edited, newest


class StaleEdit(ValidationError):
    """The workflow was changed since the author of an edit saw it; `current` is its state now."""

    def __init__(self, current: Workflow) -> None:
        super().__init__(f"{current} was changed meanwhile.")
        self.current = current


class HasRuns(Exception):
    """The workflow has runs, so it can be archived but not deleted."""


def token_of(workflow: Workflow) -> str:
    """Return the state of a version as a text for a hidden field."""
    return f"{workflow.version}.{workflow.revision}"


@contextmanager
def editing(workflow: Workflow, token: str) -> Iterator[Workflow]:
    """Yield the version that an edit changes; nothing is changed if the edit raises.

    Raises StaleEdit unless `token` is that of the newest version now.
    """
    with transaction.atomic():
        current = Workflow.locked(newest(workflow).pk)
        if current is None or token != token_of(current):
            raise StaleEdit(current or workflow)
        with edited(current) as draft:
            yield draft
            Workflow.objects.filter(pk=draft.pk).update(revision=F("revision") + 1)
            audit.record(draft.organisation_id, "workflow.edited", f"{draft.slug} v{draft.version}")


def create(organisation: Organisation, *, author: User, slug: str, **fields: Any) -> Workflow:
    """Create the first version of a workflow.

    Raises ValidationError for a slug that is taken, and over the limit of the site.
    """
    _check_free(organisation, slug)
    try:
        with transaction.atomic():
            check_workflows(Organisation.locked(organisation.pk))
            made = Workflow.objects.create(
                organisation=organisation, author=author, slug=slug, **fields
            )
            audit.record(organisation, "workflow.created", slug)
            track_creation(made, "editor")
            return made
    except IntegrityError:
        raise _taken(slug) from None


def track_creation(workflow: Workflow, source: str) -> None:
    """Write the tracking event of a new workflow; `source` is how it was made."""
    track(
        EventName.WORKFLOW_CREATED,
        actor=workflow.author_id,
        organisation=workflow.organisation_id,
        source=source,
    )


def rename(workflow: Workflow, slug: str) -> None:
    """Give all versions another slug. Raises ValidationError for one that is taken."""
    if slug == workflow.slug:
        return
    _check_free(workflow.organisation, slug)
    try:
        with transaction.atomic():
            for rows in rows_by_slug(workflow):
                rows.update(workflow=slug)
            versions_of(workflow).update(slug=slug)
            changes = {"slug": (workflow.slug, slug)}
            audit.record(workflow.organisation_id, "workflow.renamed", slug, changes)
    except IntegrityError:
        raise _taken(slug) from None
    workflow.slug = slug


def move(workflow: Workflow, project: Project | None) -> None:
    """Put all versions into a project."""
    versions_of(workflow).update(project=project)


def set_properties(workflow: Workflow, **values: Any) -> None:
    """Set properties that are the same in all versions (`Workflow.SHARED_PROPERTIES`)."""
    versions_of(workflow).update(**values)


@transaction.atomic
def clone(workflow: Workflow, *, author: User) -> Workflow:
    """Copy a version as the first version of a workflow of its own. Raises ValidationError."""
    check_workflows(Organisation.locked(workflow.organisation_id))
    taken = set(workflow.organisation.workflows.values_list("slug", flat=True))
    copy = Workflow(
        organisation=workflow.organisation,
        project=workflow.project,
        author=author,
        slug=free_slug(f"{workflow.slug[:50]}-copy", taken),
        name=f"{workflow.name[:140]} (copy)",
    )
    copy_version(workflow, copy)
    audit.record(workflow.organisation, "workflow.created", f"{copy.slug} from {workflow.slug}")
    track_creation(copy, "copy")
    return copy


@transaction.atomic
def archive(workflow: Workflow) -> None:
    """Take all versions out of lists and refuse new runs of them; old runs stay."""
    versions_of(workflow).update(is_active=False)
    audit.record(workflow.organisation_id, "workflow.archived", workflow.slug)


@transaction.atomic
def restore(workflow: Workflow) -> None:
    """Undo `archive`."""
    versions_of(workflow).update(is_active=True)
    audit.record(workflow.organisation_id, "workflow.restored", workflow.slug)


@transaction.atomic
def delete(workflow: Workflow) -> None:
    """Delete all versions. Raises HasRuns if one of them has runs."""
    versions = list(versions_of(workflow).select_for_update())
    if any(each.is_frozen for each in versions):
        raise HasRuns(f"{workflow.name} has runs. Archive it instead.")
    for rows in rows_by_slug(workflow):
        rows.delete()
    versions_of(workflow).delete()
    audit.record(workflow.organisation_id, "workflow.deleted", workflow.slug)


def archived_workflows(organisation: Organisation) -> "QuerySet[Workflow]":
    """Return the newest version of each workflow that has no active version."""
    of_organisation = Workflow.objects.filter(organisation=organisation)
    active = of_organisation.filter(is_active=True).values("slug")
    return latest_versions(of_organisation.exclude(slug__in=active))


def versions_of(workflow: Workflow) -> "QuerySet[Workflow]":
    """Return all versions of a workflow, newest first."""
    return Workflow.objects.filter(
        organisation_id=workflow.organisation_id, slug=workflow.slug
    ).order_by("-version")


def check_workflows(organisation: Organisation) -> None:
    """Raise ValidationError if the site allows the organisation no further workflow."""
    slugs = organisation.workflows.order_by().values("slug").distinct()
    check_room("workflows_per_organisation", slugs.count())


def rows_by_slug(workflow: Workflow) -> "Iterator[QuerySet[Any]]":
    """Yield the rows that name a workflow by its slug."""
    for model in (WorkflowGrant, LaunchLink, WorkflowBadge, WorkflowSchedule, WorkflowImage):
        yield model.objects.filter(organisation=workflow.organisation_id, workflow=workflow.slug)
    yield workflow.organisation.notification_preferences.filter(workflow=workflow.slug)


def _check_free(organisation: Organisation, slug: str) -> None:
    if Workflow.objects.filter(organisation=organisation, slug=slug).exists():
        raise _taken(slug)


def _taken(slug: str) -> ValidationError:
    message = f"There is a workflow {echo(slug)} already. Choose another slug."
    return ValidationError({"slug": message})
