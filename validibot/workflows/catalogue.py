"""Validator catalogue: one row per manifest of a container validator or engine."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from validators.sdk.manifest import (
    FURTHER_FILES_PORT,
    MANIFEST_NAME,
    ManifestInvalid,
    ValidatorManifest,
    read_manifest,
)
from validibot.engines import ENGINES, EngineManifest
from validibot.workflows.models import Validator


def read_manifests(folder: Path) -> list[ValidatorManifest]:
    """Read the manifest of every folder of `folder` that has one. Raises ManifestInvalid."""
    return [read_manifest(path.parent) for path in sorted(folder.glob(f"*/{MANIFEST_NAME}"))]


def sync_validators(folder: Path) -> dict[str, int]:
    """Update the catalogue from the manifests; return the numbers of changed rows by kind.

    A validator without a manifest is deactivated, not deleted: old runs refer to it. Validators of
    organisations are left alone.
    Nothing changes if ManifestInvalid is raised.
    """
    wanted = _wanted(folder)
    with transaction.atomic():
        own = Validator.objects.filter(organisation=None).select_for_update()
        rows = {(row.slug, row.version): row for row in own}
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
        Validator.objects.filter(pk__in=[row.pk for row in gone]).update(
            is_active=False, updated_at=timezone.now()
        )
    return {"created": len(created), "changed": len(changed), "deactivated": len(gone)}


def _wanted(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the fields of all validators with a manifest, by slug and version."""
    wanted = {
        (engine.manifest.slug, engine.manifest.version): engine_fields(name, engine.manifest)
        for name, engine in ENGINES.items()
    }
    for manifest in read_manifests(folder):
        if said := sorted({"network", "secrets"} & manifest.model_fields_set):
            raise ManifestInvalid(
                f"{manifest.slug}: `{said[0]}` is for validators that an organisation registers;"
                " remove it."
            )
        key = (manifest.slug, manifest.version)
        if key in wanted:
            raise ManifestInvalid(
                f"Two manifests describe {manifest.slug} {manifest.version}: rename one of them."
            )
        wanted[key] = container_fields(manifest) | {"manifest_price": manifest.credits}
    return wanted


def _update(row: Validator, fields: Mapping[str, Any]) -> bool:
    """Set the fields that differ; return whether any did."""
    different = {name: value for name, value in fields.items() if getattr(row, name) != value}
    for name, value in different.items():
        setattr(row, name, value)
    return bool(different)


def engine_fields(name: str, manifest: EngineManifest) -> dict[str, Any]:
    return {
        "title": manifest.title,
        "description": manifest.description,
        "validation_type": manifest.validation_type,
        "engine": name,
        "accepts": [asdict(file_type) for file_type in manifest.accepts],
        "ports": [
            {
                "port_key": port.port_key,
                "type": port.type,
                "name": port.title,
                "channel": "resource_files",
                "required": False,
                "extensions": list(port.extensions),
                "default": "",
            }
            for port in manifest.ports
        ],
        "outputs": [asdict(output) for output in manifest.outputs],
        "accepts_further_files": manifest.reads_context,
        "manifest_price": manifest.credits,
        "is_active": True,
    }


def container_fields(manifest: ValidatorManifest) -> dict[str, Any]:
    """Return the fields of a container validator, but for slug and version."""
    return {
        "title": manifest.title,
        "description": manifest.description,
        "validation_type": manifest.validation_type,
        "engine": "",
        "image": manifest.image,
        "job": manifest.job,
        "command": manifest.command,
        "accepts": [file_type.model_dump() for file_type in manifest.accepts],
        "ports": list(_ports(manifest)),
        "outputs": [output.model_dump() for output in manifest.outputs],
        "default_assertions": [each.model_dump() for each in manifest.assertions],
        "settings_json": json.dumps(manifest.settings.json_schema()) if manifest.settings else "",
        "accepts_further_files": manifest.accepts_further_files,
        "timeout_seconds": manifest.budgets.timeout_seconds,
        "memory_mb": manifest.budgets.memory_mb,
        "is_active": True,
    }


def _ports(manifest: ValidatorManifest) -> Iterator[dict[str, Any]]:
    """Yield the ports in the shape of `Validator.ports`."""
    for port in manifest.input_ports:
        row = {"channel": "input_files", "default": "", "name": port.title}
        yield row | port.model_dump(exclude={"title"})
    for resource in manifest.resource_ports:
        row = {"channel": "resource_files", "name": resource.title}
        yield row | resource.model_dump(exclude={"title"})
    if manifest.further_file_extensions:
        yield {
            "port_key": FURTHER_FILES_PORT,
            "channel": FURTHER_FILES_PORT,
            "name": "Further files",
            "extensions": manifest.further_file_extensions,
        }
