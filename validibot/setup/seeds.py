"""Demo workflows that the product ships: one TOML file each in the folder `seeds`.

A step gets the standard files of its validator's resource ports (weather). They are stored once,
under the digest of their content, for all steps that need them.
"""

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

from django.db import transaction
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from validators.sdk.manifest import ManifestInvalid, resolve_resource
from validibot.accounts.models import Project, User
from validibot.workflows.models import (
    WEATHER_TYPE,
    Assertion,
    Sample,
    Severity,
    Step,
    StepFile,
    Validator,
    Workflow,
)
from validibot.workflows.versions import edited, newest
from validibot.workflows.weather import load_weather, store_by_digest

FOLDER = Path(__file__).parent / "seeds"
ROOT = Path(__file__).parents[2]


class SeedInvalid(Exception):
    """A seed is invalid; the message names the file and the errors."""


class SeedPart(BaseModel):
    """A table of a seed: unknown keys and other types than declared are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SeedConstant(SeedPart):
    name: str
    data_type: Annotated[str, Field(pattern="^(STRING|NUMBER|BOOLEAN|LIST|OBJECT)$")]
    value: Any
    description: str = ""


class SeedAssertion(SeedPart):
    expression: str
    when: str = ""
    severity: Annotated[str, Field(pattern=f"^({'|'.join(Severity)})$")] = Severity.ERROR.value
    message: str = ""
    success_message: str = ""
    path: str = ""
    notes: str = ""


class SeedStep(SeedPart):
    name: str
    description: str = ""
    validator: str
    config: dict[str, Any] = {}
    assertions: list[SeedAssertion] = []


class Seed(SeedPart):
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
    """Read the seeds in the order of their file names. Raises SeedInvalid."""
    return [read_seed(path) for path in sorted(FOLDER.glob("*.toml"))]


def read_seed(path: Path) -> Seed:
    """Read a seed. Raises SeedInvalid."""
    try:
        return Seed.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SeedInvalid(f"{path} cannot be read: {error}.") from None
    except ValidationError as error:
        raise SeedInvalid(f"{path}: {'; '.join(_faults(error))}.") from None


def _faults(error: ValidationError) -> Iterator[str]:
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        yield f"`{where}`: {fault['msg']}"


def apply_seed(
    seed: Seed, *, project: Project, author: User, say: Callable[[str], object]
) -> Workflow:
    """Create or update the seed's workflow. Raises SeedInvalid and StorageError.

    A version that has runs does not change: a changed seed becomes the next version.
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
                _store_standard_files(step, say=say)
            Step.objects.filter(workflow=draft, order__gt=len(seed.steps)).delete()
        applied = newest(found)
        _samples(applied, seed)
    return applied


def _step(workflow: Workflow, order: int, seed: SeedStep) -> Step:
    validator = Validator.objects.filter(slug=seed.validator, is_active=True).first()
    if validator is None:
        raise SeedInvalid(f"Seed {workflow.slug}: unknown validator {seed.validator!r}.")
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


def _store_standard_files(step: Step, *, say: Callable[[str], object]) -> None:
    """Give a step the standard file of every resource port of its validator."""
    for port in step.validator.ports:
        if port["channel"] != "resource_files" or not port["default"]:
            continue
        source = packaged_file(port["default"])
        if source is None:
            say(f"{step.name}: {port['name']} is missing: {port['default']} is not installed.")
            continue
        _store_file(step, source, port_key=port["port_key"], kind=port["type"])


def packaged_file(reference: str) -> Path | None:
    """Return the file `package:<import name>/<path inside>`; None if it is not installed."""
    try:
        return resolve_resource(reference)
    except ManifestInvalid:
        return None


def _store_file(step: Step, source: Path, *, port_key: str, kind: str) -> None:
    """Store a file below the data root unless it is there, and add it to the step."""
    content = source.read_bytes()
    uri, version, sha256 = store_by_digest(source.name, content)
    StepFile.objects.update_or_create(
        step=step,
        port_key=port_key,
        defaults={
            "name": source.name,
            "type": kind,
            "uri": uri,
            "storage_version": version,
            "size_bytes": len(content),
            "sha256": sha256,
        },
    )


def load_standard_weather(*, say: Callable[[str], object]) -> None:
    """Load the weather that validators use by default into the catalogue, where it is installed.

    Raises StorageError, WeatherInvalid.
    """
    for validator in Validator.objects.filter(is_active=True):
        for port in validator.ports:
            if port.get("type") == WEATHER_TYPE and port["default"]:
                if source := packaged_file(port["default"]):
                    load_weather(source)
                else:
                    say(f"{port['name']} is not loaded: {port['default']} is not installed.")
