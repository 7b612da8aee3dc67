"""Find the workflow that a request names, and the workflows that a user may see.

A new run needs a workflow with its steps and their validators. The steps of a frozen version never
change, so they are cached in memory, and the workflow costs one query. That query also reads when a
validator of the version last changed; an older cache entry is not used.
"""

import re
import uuid
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db.models import (
    Max,
    OuterRef,
    Prefetch,
    QuerySet,
    Subquery,
    prefetch_related_objects,
)

from validibot.accounts.models import Organisation, Project
from validibot.accounts.scope import Scope
from validibot.core.echo import echo
from validibot.workflows.models import Step, Workflow, latest_versions

_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_KEY = re.compile(r"[0-9]{1,18}")
_CACHED_VERSIONS = 512


class WorkflowNotFound(Exception):
    """The organisation has no such workflow."""


def visible_workflows(scope: Scope) -> QuerySet[Workflow]:
    """Return the latest version of each active workflow that the scope may see."""
    active = Workflow.objects.filter(organisation=scope.organisation, is_active=True)
    if not scope.can("workflow.view"):
        return Workflow.objects.none()
    if scope.workflows is not None:
        active = active.filter(slug__in=scope.workflows)
    return latest_versions(active)


def visible_projects(scope: Scope) -> QuerySet[Project]:
    """Return the projects of the organisation; a guest sees those of the granted workflows."""
    projects = Project.objects.filter(organisation=scope.organisation)
    if scope.workflows is None:
        return projects
    return projects.filter(pk__in=visible_workflows(scope).values("project"))


def find_visible_workflow(scope: Scope, ident: str, **choice: Any) -> Workflow:
    """Return what `find_workflow` finds if the scope may see it. Raises WorkflowNotFound."""
    found = find_workflow(scope.organisation, ident, **choice)
    if not scope.can_see(found.slug):
        raise WorkflowNotFound(f"There is no workflow {echo(ident)}.")
    return found


def find_workflow(
    organisation: Organisation,
    ident: str,
    *,
    version: int | None = None,
    project: str | None = None,
) -> Workflow:
    """Return a workflow by slug, or one version of it by UUID or primary key.

    Without `version` a slug selects its latest active version, or else its latest. Steps and their
    validators are loaded, too; do not change them. Raises WorkflowNotFound.
    """
    found = _find(organisation, ident, version=version, project=project)
    if found is None:
        of_version = f" in version {version}" if version is not None else ""
        in_project = f" in the project {echo(project)}" if project else ""
        raise WorkflowNotFound(f"There is no workflow {echo(ident)}{of_version}{in_project}.")
    _load_steps(found)
    return found


def enabled_steps(workflow: Workflow) -> list[Step]:
    """Return the steps that a run of the workflow has, in their order."""
    return [step for step in workflow.steps.all() if step.is_enabled]


def accepted_extensions(workflow: Workflow) -> set[str]:
    """Return the extensions (with dots) that a submission may have; an empty set means any.

    Unless the workflow lists its own, these are the ones that its first step accepts.
    """
    if workflow.accepted_types:
        return set(workflow.accepted_types)
    steps = enabled_steps(workflow)
    return {entry["extension"] for entry in steps[0].validator.accepts} if steps else set()


def takes_further_files(workflow: Workflow) -> bool:
    """Return whether a validator of the workflow takes files that are sent beside the first."""
    return any(step.validator.accepts_further_files for step in enabled_steps(workflow))


def _find(
    organisation: Organisation, ident: str, *, version: int | None, project: str | None
) -> Workflow | None:
    if "\0" in ident or "\0" in (project or ""):  # PostgreSQL refuses NUL with an error
        return None
    changed = Step.objects.filter(workflow=OuterRef("pk")).values("workflow")
    candidates = organisation.workflows.select_related("organisation", "project").annotate(
        validators_changed_at=Subquery(changed.values(at=Max("validator__updated_at")))
    )
    if project:
        candidates = candidates.filter(project__slug=project)
    return _by_slug(candidates, ident, version) or _by_key(candidates, ident, version)


def _by_slug(candidates: QuerySet[Any], slug: str, version: int | None) -> Workflow | None:
    named = candidates.filter(slug=slug)
    if version is not None:
        named = named.filter(version=version)
    found: Workflow | None = named.order_by("-is_active", "-version").first()
    return found


def _by_key(candidates: QuerySet[Any], ident: str, version: int | None) -> Workflow | None:
    key: dict[str, Any]
    if _UUID.fullmatch(ident):
        key = {"uuid": uuid.UUID(ident)}
    elif _KEY.fullmatch(ident):
        key = {"pk": int(ident)}
    else:
        return None
    found: Workflow | None = candidates.filter(**key).first()
    if found is None or version in (None, found.version):
        return found
    return _by_slug(candidates, found.slug, version)


def _load_steps(workflow: Workflow) -> None:
    """Prefetch the steps with their validators, those of a frozen version from the cache."""
    if not workflow.is_frozen:
        with_validators = Step.objects.select_related("validator")
        prefetch_related_objects([workflow], Prefetch("steps", with_validators))
        return
    changed_at: datetime | None = workflow.validators_changed_at  # type: ignore[attr-defined]
    steps = workflow.steps.all()
    # The state that prefetch_related would leave.
    steps._result_cache = list(_frozen_steps(workflow.pk, changed_at))  # noqa: SLF001
    workflow._prefetched_objects_cache = {"steps": steps}  # type: ignore[attr-defined]  # noqa: SLF001


@lru_cache(maxsize=_CACHED_VERSIONS)
def _frozen_steps(workflow_id: int, changed_at: datetime | None) -> tuple[Step, ...]:
    return tuple(Step.objects.filter(workflow_id=workflow_id).select_related("validator"))
