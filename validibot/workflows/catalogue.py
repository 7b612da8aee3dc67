"""The validator catalogue: manifests of container validators and of engines become rows."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from django.db import transaction
from pydantic import Field

from validibot.core.toml import Part, TomlError, read_toml
from validibot.engines import ENGINES, EngineManifest
from validibot.workflows.models import Validator

MANIFEST = "validator.toml"
_Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]


class FileType(Part):
    extension: Annotated[str, Field(pattern=r"^\.[a-z0-9]+$")]
    mime_type: str


class InputPort(Part):
    port_key: str
    role: str
    title: str
    required: bool

    def as_row(self) -> dict[str, Any]:
        return {
            "port_key": self.port_key,
            "role": self.role,
            "name": self.title,
            "channel": "input_files",
            "required": self.required,
            "default": "",
        }


class ResourcePort(Part):
    port_key: str
    type: str
    title: str
    required: bool
    default: str = ""

    def as_row(self) -> dict[str, Any]:
        return {
            "port_key": self.port_key,
            "type": self.type,
            "name": self.title,
            "channel": "resource_files",
            "required": self.required,
            "default": self.default,
        }


class Output(Part):
    slug: str
    label: str
    unit: str
    path: str


class Budgets(Part):
    timeout_seconds: Annotated[int, Field(gt=0)]
    memory_mb: Annotated[int, Field(gt=0)]


class Sample(Part):
    name: str
    title: str
    file: str
    expect: Annotated[str, Field(pattern="^(pass|fail)$")]
    inputs: dict[str, Any] = {}


class Manifest(Part):
    """What `validator.toml` says."""

    slug: _Slug
    title: Annotated[str, Field(min_length=1, max_length=150)]
    description: str
    validation_type: Annotated[str, Field(pattern=r"^[A-Z_]{1,40}$")]
    version: Annotated[str, Field(min_length=1, max_length=40)]
    image: Annotated[str, Field(min_length=1, max_length=300)]
    job: Annotated[str, Field(min_length=1, max_length=63)]
    command: Annotated[list[str], Field(min_length=1)]
    budgets: Budgets
    accepts: Annotated[list[FileType], Field(min_length=1)]
    input_ports: Annotated[list[InputPort], Field(min_length=1)]
    resource_ports: list[ResourcePort] = []
    outputs: list[Output] = []
    samples: list[Sample] = []


def read_manifests(folder: Path) -> list[Manifest]:
    """Read the manifest of every folder of `folder` that has one. Raises TomlError."""
    return [read_toml(path, Manifest) for path in sorted(folder.glob(f"*/{MANIFEST}"))]


def sync_validators(folder: Path) -> dict[str, int]:
    """Bring the catalogue in line with the manifests; return how many rows are new, changed, gone.

    What has no manifest any more is made inactive, not deleted: old runs refer to it.
    Raises TomlError, and then changes nothing.
    """
    wanted = _wanted(folder)
    with transaction.atomic():
        rows = {(row.slug, row.version): row for row in Validator.objects.select_for_update()}
        created = [
            Validator(slug=slug, version=version, **wanted[slug, version])
            for slug, version in wanted.keys() - rows.keys()
        ]
        changed = [
            rows[key] for key in wanted.keys() & rows.keys() if _update(rows[key], wanted[key])
        ]
        gone = [rows[key] for key in rows.keys() - wanted.keys() if rows[key].is_active]
        Validator.objects.bulk_create(created)
        for row in changed:
            row.save()
        Validator.objects.filter(pk__in=[row.pk for row in gone]).update(is_active=False)
    return {"created": len(created), "changed": len(changed), "deactivated": len(gone)}


def _wanted(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the fields of every validator there should be, by slug and version."""
    wanted = {
        (engine.manifest.slug, engine.manifest.version): _engine_fields(name, engine.manifest)
        for name, engine in ENGINES.items()
    }
    for manifest in read_manifests(folder):
        key = (manifest.slug, manifest.version)
        if key in wanted:
            raise TomlError(f"Two validators are {manifest.slug!r} {manifest.version}.")
        wanted[key] = _container_fields(manifest)
    return wanted


def _update(row: Validator, fields: Mapping[str, Any]) -> bool:
    """Set the fields that differ; return whether any did."""
    different = {name: value for name, value in fields.items() if getattr(row, name) != value}
    for name, value in different.items():
        setattr(row, name, value)
    return bool(different)


def _engine_fields(name: str, manifest: EngineManifest) -> dict[str, Any]:
    return {
        "title": manifest.title,
        "description": manifest.description,
        "validation_type": manifest.validation_type,
        "engine": name,
        "accepts": [asdict(file_type) for file_type in manifest.accepts],
        "outputs": [asdict(output) for output in manifest.outputs],
        "is_active": True,
    }


def _container_fields(manifest: Manifest) -> dict[str, Any]:
    ports: list[InputPort | ResourcePort] = [*manifest.input_ports, *manifest.resource_ports]
    return {
        "title": manifest.title,
        "description": manifest.description,
        "validation_type": manifest.validation_type,
        "engine": "",
        "image": manifest.image,
        "job": manifest.job,
        "command": manifest.command,
        "accepts": [file_type.model_dump() for file_type in manifest.accepts],
        "ports": [port.as_row() for port in ports],
        "outputs": [output.model_dump() for output in manifest.outputs],
        "timeout_seconds": manifest.budgets.timeout_seconds,
        "memory_mb": manifest.budgets.memory_mb,
        "is_active": True,
    }
