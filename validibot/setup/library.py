"""Files that validators bring along (weather), put into storage once for all steps that need them.

The name of a stored file holds the digest of its content, so it is written once and never changes.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from validators.sdk.manifest import ManifestInvalid, resolve_resource
from validibot.core.storage import ObjectExists, StorageError, get_storage
from validibot.workflows.models import Step, StepFile


def keep_files(step: Step, *, say: Callable[[str], object]) -> None:
    """Give a step the standard file of every resource port of its validator."""
    for port in step.validator.ports:
        if port["channel"] != "resource_files" or not port["default"]:
            continue
        source = packaged_file(port["default"])
        if source is None:
            say(
                f"{step.name}: {port['default']} is not on this machine; {port['name']} is missing."
            )
            continue
        keep(step, source, port_key=port["port_key"], kind=port["type"])


def packaged_file(reference: str) -> Path | None:
    """Return the file `package:<import name>/<path inside>`; None if it is not on this machine."""
    try:
        return resolve_resource(reference)
    except ManifestInvalid:
        return None


def keep(step: Step, source: Path, *, port_key: str, kind: str) -> None:
    """Store a file below the data root, unless it is there, and note it at the step."""
    content = source.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    uri = f"{settings.DATA_ROOT}/library/{sha256}/{source.name}"
    StepFile.objects.update_or_create(
        step=step,
        port_key=port_key,
        defaults={
            "name": source.name,
            "type": kind,
            "uri": uri,
            "storage_version": _stored(uri, content),
            "size_bytes": len(content),
            "sha256": sha256,
        },
    )


def _stored(uri: str, content: bytes) -> str:
    """Return the version of the object at `uri`, written if it is missing."""
    storage = get_storage(uri)
    version = storage.current(uri)
    if version is None:
        try:
            return storage.create(uri, content, mime_type="application/octet-stream").version
        except ObjectExists:  # another setup was quicker
            version = storage.current(uri)
    if version is None:
        raise StorageError(f"{uri} was there and is gone.")
    return version
