"""Input envelopes for local files, to run a validator without a platform."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from validibot_shared.canonicalization import compute_callback_nonce_commitment

from validators.sdk.manifest import FURTHER_FILES_PORT, ValidatorManifest, resolve_resource

NONCE = "n" * 43


def write_envelope(
    folder: Path,
    manifest: ValidatorManifest,
    submission: Path,
    *further_files: Path,
    inputs: Mapping[str, Any] | None = None,
    callback_url: str | None = None,
    timeout_seconds: int | None = None,
) -> Path:
    """Write the `input.json` of an attempt to validate `submission` and return its path.

    The validator will write `output.json` beside it. Resources are the manifest's default files.
    """
    attempt = str(uuid.uuid4())
    envelope = {
        "run_id": str(uuid.uuid4()),
        "validator": {"id": "1", "type": manifest.validation_type, "version": manifest.version},
        "org": {"id": "1", "name": "Test"},
        "workflow": {"id": "1", "step_id": "1"},
        "input_files": [_input(manifest, submission)],
        "resource_files": [
            _resource(port.port_key, port.type, resolve_resource(port.default))
            for port in manifest.resource_ports
            if port.default
        ]
        + [_resource(FURTHER_FILES_PORT, "further_file", path) for path in further_files],
        "inputs": dict(inputs or {}),
        "context": {
            "execution_attempt_id": attempt,
            "step_run_id": "1",
            "attempt_contract_version": "validibot.attempt.v2",
            "expected_output_uri": (folder / "output.json").as_uri(),
            "execution_bundle_uri": folder.as_uri(),
            "timeout_seconds": timeout_seconds or manifest.budgets.timeout_seconds,
            **_callback(attempt, callback_url),
        },
    }
    path = folder / "input.json"
    path.write_text(json.dumps(envelope, indent=2))
    return path


def _input(manifest: ValidatorManifest, path: Path) -> dict[str, Any]:
    port = manifest.input_ports[0]
    return {
        "role": port.role,
        "mime_type": manifest.mime_type_of(path),
        **_file(port.port_key, path),
    }


def _resource(port_key: str, kind: str, path: Path) -> dict[str, Any]:
    return {"id": "1", "type": kind, **_file(port_key, path)}


def _file(port_key: str, path: Path) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "name": path.name,
        "port_key": port_key,
        "uri": path.absolute().as_uri(),
        "size_bytes": path.stat().st_size,
        "sha256": digest,
        "storage_version": f"sha256:{digest}",
    }


def _callback(attempt: str, url: str | None) -> dict[str, Any]:
    if url is None:
        return {"skip_callback": True}
    return {
        "callback_url": url,
        "callback_id": f"execution-attempt-{attempt}",
        "callback_nonce": NONCE,
        "callback_nonce_commitment": compute_callback_nonce_commitment(NONCE),
    }
