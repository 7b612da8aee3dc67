"""Which workflow is meant, and which a user may see."""

import re
import uuid
from typing import Any

from django.db.models import Prefetch, QuerySet

from validibot.accounts.models import Organisation, User
from validibot.accounts.permissions import organisations_of
from validibot.workflows.models import Step, Workflow, latest_versions

_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_KEY = re.compile(r"[0-9]{1,18}")


class WorkflowNotFound(Exception):
    """No such workflow in the organisation."""


def visible_workflows(user: User, organisation: Organisation) -> QuerySet[Workflow]:
    """Return the latest version of each active workflow, for a member of the organisation."""
    return latest_versions(
        Workflow.objects.filter(
            organisation=organisation, organisation__in=organisations_of(user), is_active=True
        )
    )


def find_workflow(
    organisation: Organisation,
    ident: str,
    *,
    version: int | None = None,
    project: str | None = None,
) -> Workflow:
    """Return a workflow by slug, or by UUID or number, which name one version of it.

    Without `version` a slug stands for its latest active version, or its latest. The steps and
    their validators come with it. Raises WorkflowNotFound.
    """
    found = _find(organisation, ident, version=version, project=project)
    if found is None:
        of_version = f" in version {version}" if version else ""
        in_project = f" in the project {project!r}" if project else ""
        raise WorkflowNotFound(f"There is no workflow {ident!r}{of_version}{in_project}.")
    return found


def accepted_extensions(workflow: Workflow) -> set[str]:
    """Return the extensions, with their dots, that the first step takes; empty: any."""
    steps = list(workflow.steps.all())
    return {entry["extension"] for entry in steps[0].validator.accepts} if steps else set()


def _find(
    organisation: Organisation, ident: str, *, version: int | None, project: str | None
) -> Workflow | None:
    if "\0" in ident or "\0" in (project or ""):  # which PostgreSQL would refuse with an error
        return None
    candidates = _with_steps(organisation.workflows.all())
    if project:
        candidates = candidates.filter(project__slug=project)
    return _by_slug(candidates, ident, version) or _by_key(candidates, ident, version)


def _with_steps(workflows: QuerySet[Workflow]) -> QuerySet[Workflow]:
    steps = Prefetch("steps", Step.objects.select_related("validator"))
    return workflows.select_related("organisation", "project").prefetch_related(steps)


def _by_slug(candidates: QuerySet[Workflow], slug: str, version: int | None) -> Workflow | None:
    named = candidates.filter(slug=slug)
    if version is not None:
        named = named.filter(version=version)
    return named.order_by("-is_active", "-version").first()


def _by_key(candidates: QuerySet[Workflow], ident: str, version: int | None) -> Workflow | None:
    key: dict[str, Any]
    if _UUID.fullmatch(ident):
        key = {"uuid": uuid.UUID(ident)}
    elif _KEY.fullmatch(ident):
        key = {"pk": int(ident)}
    else:
        return None
    found = candidates.filter(**key).first()
    if found is None or version in (None, found.version):
        return found
    return _by_slug(candidates, found.slug, version)
