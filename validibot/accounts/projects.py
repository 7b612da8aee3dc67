"""Projects of an organisation: their names differ, and one of them is the default."""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _

from validibot.accounts import audit
from validibot.accounts.models import Organisation, Project
from validibot.core.slugs import free_slug

MAX_PROJECTS = 200


@transaction.atomic
def create(organisation: Organisation, *, name: str, colour: str) -> Project:
    """Create a project; the first of an organisation is its default. Raises ValidationError."""
    Organisation.locked(organisation.pk)
    projects = organisation.projects.all()
    _check_name(organisation, name)
    if projects.count() >= MAX_PROJECTS:
        message = _("%(name)s has %(count)d projects, which is the limit. Delete one first.")
        raise ValidationError(message % {"name": organisation.name, "count": MAX_PROJECTS})
    taken = set(projects.values_list("slug", flat=True))
    made = Project.objects.create(
        organisation=organisation,
        name=name,
        colour=colour,
        slug=free_slug(slugify(name)[:50].strip("-") or "project", taken),
        is_default=not projects.filter(is_default=True).exists(),
    )
    audit.record(organisation, "project.created", made)
    return made


@transaction.atomic
def edit(project: Project, *, name: str, colour: str) -> None:
    """Rename a project and give it a colour; its slug stays. Raises ValidationError."""
    Organisation.locked(project.organisation_id)
    _check_name(project.organisation, name, but=project)
    Project.objects.filter(pk=project.pk).update(name=name, colour=colour)
    changes = {"name": (project.name, name), "colour": (project.colour, colour)}
    audit.record(project.organisation_id, "project.changed", project, changes)


@transaction.atomic
def make_default(project: Project) -> None:
    """Make a project the default of its organisation."""
    Organisation.locked(project.organisation_id)
    Project.objects.filter(organisation=project.organisation_id).update(is_default=False)
    Project.objects.filter(pk=project.pk).update(is_default=True)
    audit.record(project.organisation_id, "project.made_default", project)


@transaction.atomic
def delete(project: Project) -> Project:
    """Delete a project and return the default one, to which its content moves.

    Raises Project.DoesNotExist if it is gone, and ValidationError for the default project.
    """
    Organisation.locked(project.organisation_id)
    current = Project.objects.select_related("organisation").get(pk=project.pk)
    default = default_project(current.organisation)
    if default is None or default == current:
        message = _("%(name)s cannot be deleted. Make another project the default first.")
        raise ValidationError(message % {"name": current.name})
    current.workflows.update(project=default)
    current.submission_set.update(project=default)
    audit.record(current.organisation, "project.deleted", current)
    current.delete()
    return default


def default_project(organisation: Organisation) -> Project | None:
    """Return the project in which new workflows begin."""
    return organisation.projects.filter(is_default=True).first()


def _check_name(organisation: Organisation, name: str, *, but: Project | None = None) -> None:
    others = organisation.projects.exclude(pk=but.pk) if but else organisation.projects.all()
    if others.filter(name__iexact=name).exists():
        message = _("%(organisation)s has a project %(name)s already. Choose another name.")
        raise ValidationError({"name": message % {"organisation": organisation.name, "name": name}})
