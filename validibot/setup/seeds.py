"""Workflows that come with the product: one TOML file each in the folder `seeds`."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from django.db import transaction
from pydantic import Field

from validibot.accounts.models import Project, User
from validibot.core.toml import Part, TomlError, read_toml
from validibot.setup.library import keep_files
from validibot.workflows.models import Assertion, Sample, Severity, Step, Validator, Workflow
from validibot.workflows.versions import edited, newest

FOLDER = Path(__file__).parent / "seeds"
ROOT = Path(__file__).parents[2]


class SeedConstant(Part):
    name: str
    data_type: Annotated[str, Field(pattern="^(STRING|NUMBER|BOOLEAN|LIST|OBJECT)$")]
    value: Any
    description: str = ""


class SeedAssertion(Part):
    expression: str
    when: str = ""
    severity: Annotated[str, Field(pattern=f"^({'|'.join(Severity)})$")] = Severity.ERROR.value
    message: str = ""
    success_message: str = ""
    path: str = ""
    notes: str = ""


class SeedStep(Part):
    name: str
    description: str = ""
    validator: str
    config: dict[str, Any] = {}
    assertions: list[SeedAssertion] = []


class Seed(Part):
    """A workflow. Samples are paths below the repository."""

    slug: str
    name: str
    description: str
    success_message: str = ""
    sample: str
    failing_sample: str
    constants: list[SeedConstant] = []
    steps: Annotated[list[SeedStep], Field(min_length=1)]


def read_seeds() -> list[Seed]:
    """Read the seeds in the order of their file names. Raises TomlError."""
    return [read_toml(path, Seed) for path in sorted(FOLDER.glob("*.toml"))]


def plant(seed: Seed, *, project: Project, author: User, say: Callable[[str], object]) -> Workflow:
    """Create the seed's workflow, or bring it in line. Raises TomlError and StorageError.

    A version that has runs is not changed: what differs becomes the next version.
    """
    with transaction.atomic():
        versions = Workflow.objects.filter(organisation=project.organisation_id, slug=seed.slug)
        found = versions.order_by("-version").first() or Workflow.objects.create(
            organisation_id=project.organisation_id, slug=seed.slug, name=seed.name
        )
        with edited(found) as draft:
            draft.project, draft.author = project, author
            draft.name, draft.description = seed.name, seed.description
            draft.success_message = seed.success_message
            draft.constants = [constant.model_dump() for constant in seed.constants]
            draft.is_active = True
            draft.save()
            for order, seed_step in enumerate(seed.steps, start=1):
                step = _step(draft, order, seed_step)
                _assertions(step, seed_step.assertions)
                keep_files(step, say=say)
            Step.objects.filter(workflow=draft, order__gt=len(seed.steps)).delete()
        planted = newest(found)
        _samples(planted, seed)
    return planted


def _step(workflow: Workflow, order: int, seed: SeedStep) -> Step:
    validator = Validator.objects.filter(slug=seed.validator, is_active=True).first()
    if validator is None:
        raise TomlError(f"Seed {workflow.slug}: there is no validator {seed.validator!r}.")
    step, _ = Step.objects.update_or_create(
        workflow=workflow,
        order=order,
        defaults={
            "name": seed.name,
            "description": seed.description,
            "validator": validator,
            "config": seed.config,
        },
    )
    return step


def _assertions(step: Step, seeds: list[SeedAssertion]) -> None:
    for order, seed in enumerate(seeds, start=1):
        Assertion.objects.update_or_create(step=step, order=order, defaults=seed.model_dump())
    step.assertions.filter(order__gt=len(seeds)).delete()


def _samples(workflow: Workflow, seed: Seed) -> None:
    for path, passes in ((seed.sample, True), (seed.failing_sample, False)):
        file = ROOT / path
        Sample.objects.update_or_create(
            workflow=workflow,
            filename=file.name,
            defaults={
                "title": "A passing sample" if passes else "A failing sample",
                "content": file.read_bytes(),
                "passes": passes,
            },
        )
