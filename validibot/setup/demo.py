"""Demo data: a user with all rights, an organisation, and the workflows of the gallery."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction

from validibot.accounts import api_keys
from validibot.accounts.models import Membership, Organisation, Project, Role, User
from validibot.accounts.workspaces import ensure_personal_workspace
from validibot.workflows.document import ReadWorkflow
from validibot.workflows.gallery import WorkflowTemplate, usable_templates
from validibot.workflows.importing import write_import
from validibot.workflows.models import WeatherFile, Workflow

Say = Callable[[str], object]


class DemoError(Exception):
    """The settings of the demo data are invalid."""


def make(say: Say) -> None:
    """Create or update the demo data. Raises DemoError, ImportInvalid and StorageError."""
    with transaction.atomic():
        # Created before the user, whose own workspace could take the slug.
        organisation, _ = Organisation.objects.get_or_create(
            slug="demo", defaults={"name": "Demo", "launch_quota": 0}
        )
        project, _ = Project.objects.get_or_create(
            organisation=organisation,
            slug="default",
            defaults={"name": "Default", "is_default": True},
        )
        user = _user(organisation)
    for template in usable_templates(organisation):
        make_workflow(template, project=project, author=user, say=say)
    if settings.SEED_FILE:
        write_seed_file(Path(settings.SEED_FILE), organisation)


def make_workflow(
    template: WorkflowTemplate, *, project: Project, author: User, say: Say
) -> Workflow:
    """Create or update the workflow of a template. Raises ImportInvalid and StorageError.

    A version that has runs does not change: a changed template becomes the next version.
    """
    workflow = write_import(
        _with_known_weather(template.read, say),
        template.files(),
        organisation=project.organisation,
        author=author,
        project=project,
        update=True,
    )
    Workflow.objects.filter(pk=workflow.pk).update(is_active=True)
    return workflow


def _with_known_weather(read: ReadWorkflow, say: Say) -> ReadWorkflow:
    """Return the workflow file without weather that is not in the catalogue."""
    known = set(WeatherFile.objects.values_list("name", flat=True))
    steps = []
    for step in read.file.steps:
        if step.weather and step.weather not in known:
            say(f"{read.file.slug}: weather {step.weather} is not loaded; {step.name} has none.")
            step = step.model_copy(update={"weather": ""})  # noqa: PLW2901
        steps.append(step)
    return replace(read, file=read.file.model_copy(update={"steps": steps}))


def _user(organisation: Organisation) -> User:
    email, password = settings.DEMO_EMAIL.lower(), settings.DEMO_PASSWORD
    if not password:
        raise DemoError("DEMO_EMAIL is set but DEMO_PASSWORD is not: set both or neither.")
    user = User.objects.filter(email=email).first()
    if user is None:
        user = User.objects.create_superuser(email, password, name="Demo")
    elif not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])
    EmailAddress.objects.update_or_create(
        user=user, email=email, defaults={"verified": True, "primary": True}
    )
    ensure_personal_workspace(user)
    Membership.objects.get_or_create(
        organisation=organisation, user=user, defaults={"role": Role.OWNER}
    )
    if settings.DEMO_API_KEY:
        _store_key(user)
    return user


def _store_key(user: User) -> None:
    try:
        api_keys.store(user, "Demo", settings.DEMO_API_KEY)
    except ValueError as error:
        raise DemoError(f"Invalid DEMO_API_KEY: {error}") from None


def write_seed_file(path: Path, organisation: Organisation) -> None:
    """Write the demo workflows and their sample files as JSON, for other programs."""
    workflows = [
        {
            "slug": template.slug,
            "name": template.name,
            "sample": str(template.sample(passes=True)),
            "failing_sample": str(template.sample(passes=False)),
        }
        for template in usable_templates(organisation)
    ]
    facts = {"org": organisation.slug, "workflows": workflows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
