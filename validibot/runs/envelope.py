"""The input envelope of an attempt: everything that a container validator is told.

It is stored once, create-only, and its canonical digest must come back in the output envelope. A
validator whose storage token is confined to its attempt's folder finds copies of all files there.
"""

import json
import re
from pathlib import PurePosixPath
from typing import Any

from django.conf import settings
from pydantic import ValidationError
from validibot_shared.canonicalization import (
    compute_callback_nonce_commitment,
    sha256_hex_for_model,
)
from validibot_shared.validations.envelopes import (
    ATTEMPT_CONTRACT_VERSION,
    ValidationInputEnvelope,
)

from validators.sdk.manifest import FURTHER_FILES_PORT
from validibot.core.envelopes import faults_of, language_of
from validibot.core.storage import get_storage
from validibot.runs.backends.base import ExecutionBackend
from validibot.runs.models import Attempt, Run, StepRun
from validibot.runs.output import validator_identity
from validibot.submissions.models import Submission, SubmissionFile
from validibot.workflows.checks import validator_inputs
from validibot.workflows.container_settings import envelope_inputs
from validibot.workflows.fmu import FMU_TYPE
from validibot.workflows.models import StepFile, Validator
from validibot.workflows.weather import WEATHER_PORTS

CALLBACK_PATH = "/internal/callbacks/"
_ANY_PORT = {"port_key": "document", "role": "document"}
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME = 100


class EnvelopeInvalid(Exception):
    """The step's configuration or the submission does not fit the validator."""


def store_envelope(
    attempt: Attempt, step_run: StepRun, run: Run, *, nonce: str, backend: ExecutionBackend
) -> str:
    """Write the attempt's files and envelope; return the envelope's canonical digest.

    Raises EnvelopeInvalid, StorageError.
    """
    files = [_submitted_file(attempt, step_run.step.validator, run.submission)]
    resources = _resources(step_run)
    if step_run.step.validator.accepts_further_files:
        resources += [_further_file(attempt, file) for file in run.submission.further_files]
    if backend.confines:
        files, resources = _confined(attempt, files), _confined(attempt, resources)
    document = {
        **_identity(step_run, run),
        "input_files": files,
        "resource_files": resources,
        "inputs": envelope_inputs(
            step_run.step.validator.validation_type, validator_inputs(step_run.step.config)
        ),
        "context": _context(
            attempt,
            step_run,
            nonce=nonce,
            posts_callbacks=backend.calls_back(step_run.step.validator.network_reach),
        ),
    }
    envelope = _parse(step_run.step.validator.validation_type, document)
    # A setting that the step leaves out stays out: validators tell it from one with the same value.
    told = envelope.model_dump(mode="json", exclude={"inputs"})
    told |= envelope.model_dump(mode="json", include={"inputs"}, exclude_unset=True)
    content = json.dumps(told, indent=2, ensure_ascii=False).encode()
    get_storage(attempt.input_uri).create(attempt.input_uri, content, mime_type="application/json")
    return sha256_hex_for_model(envelope)


def _parse(validation_type: str, document: dict[str, Any]) -> ValidationInputEnvelope:
    try:
        return language_of(validation_type).input_class.model_validate(document)
    except ValidationError as error:
        faults = faults_of(error, root="envelope", limit=5)
        raise EnvelopeInvalid(f"The step does not fit its validator: {faults}.") from None


def _identity(step_run: StepRun, run: Run) -> dict[str, Any]:
    step = step_run.step
    return {
        "run_id": str(run.pk),
        "validator": validator_identity(step.validator),
        "org": {"id": str(run.organisation_id), "name": run.organisation.name},
        "workflow": {
            "id": str(run.workflow_id),
            "step_id": str(step.pk),
            "step_name": step_run.name,
        },
    }


def _context(
    attempt: Attempt, step_run: StepRun, *, nonce: str, posts_callbacks: bool
) -> dict[str, Any]:
    return {
        "execution_attempt_id": str(attempt.pk),
        "step_run_id": str(step_run.pk),
        "attempt_contract_version": ATTEMPT_CONTRACT_VERSION,
        "expected_output_uri": attempt.output_uri,
        "execution_bundle_uri": attempt.bundle_uri,
        "callback_id": attempt.callback_id,
        "callback_nonce": nonce,
        "callback_nonce_commitment": compute_callback_nonce_commitment(nonce),
        "callback_url": f"{settings.WORKER_URL}{CALLBACK_PATH}" if posts_callbacks else None,
        "skip_callback": not posts_callbacks,
        "timeout_seconds": step_run.step.validator.timeout_seconds,
    }


def _submitted_file(
    attempt: Attempt, validator: Validator, submission: Submission
) -> dict[str, Any]:
    """Describe the submission; what lives in a row is written below `inputs/`, which is purged."""
    port = next((port for port in validator.ports if "role" in port), _ANY_PORT)
    extension = PurePosixPath(submission.filename).suffix.lower()
    uri, version = submission.uri, submission.storage_version
    if submission.inline is not None:
        uri = f"{attempt.bundle_uri}/inputs/{port['port_key']}{_UNSAFE.sub('', extension)}"
        content = bytes(submission.inline)
        version = get_storage(uri).create(uri, content, mime_type=submission.mime_type).version
    return {
        "name": _safe_name(submission.filename),
        "mime_type": _mime_type(validator, extension) or submission.mime_type,
        "role": port["role"],
        "port_key": port["port_key"],
        "uri": uri,
        "size_bytes": submission.size_bytes,
        "sha256": submission.sha256,
        "storage_version": version,
    }


def _resources(step_run: StepRun) -> list[dict[str, Any]]:
    """Describe the files of the step, and the run's weather in place of the step's own.

    Design days and statistics of the step's own weather are not those of another place.
    """
    chosen = step_run.weather["files"] if step_run.weather else []
    ports = step_run.step.validator.resource_ports
    weather = [{"id": file["sha256"], **file} for file in chosen if file["port_key"] in ports]
    replaced = WEATHER_PORTS if weather else frozenset[str]()
    # The FMU of a step is for its author: a run simulates the FMU that was submitted.
    files = step_run.step.files.exclude(port_key__in=replaced).exclude(type=FMU_TYPE)
    return [*map(_resource, files), *weather]


def _resource(file: StepFile) -> dict[str, Any]:
    return {
        "id": str(file.pk),
        "name": file.name,
        "type": file.type,
        "port_key": file.port_key,
        "uri": file.uri,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "storage_version": file.storage_version,
    }


def _further_file(attempt: Attempt, file: SubmissionFile) -> dict[str, Any]:
    """Describe a file that was sent beside the submission; it keeps the name that the sender gave.

    It is a resource because the library allows few MIME types of input files, and not CSV's.
    """
    uri, version = file.uri, file.storage_version
    if file.inline is not None:
        uri = f"{attempt.bundle_uri}/inputs/{FURTHER_FILES_PORT}/{file.order}"
        content = bytes(file.inline)
        version = get_storage(uri).create(uri, content, mime_type=file.mime_type).version
    return {
        "id": str(file.pk),
        "name": file.filename,
        "type": "further_file",
        "port_key": FURTHER_FILES_PORT,
        "uri": uri,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "storage_version": version,
    }


def _confined(attempt: Attempt, files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Copy files from elsewhere into the attempt's folder, the only one that the validator may read."""
    return [
        file if file["uri"].startswith(f"{attempt.bundle_uri}/") else _copied(attempt, file, number)
        for number, file in enumerate(files)
    ]


def _copied(attempt: Attempt, file: dict[str, Any], number: int) -> dict[str, Any]:
    folder = f"{attempt.bundle_uri}/inputs/{file['port_key']}"
    if file["port_key"] == FURTHER_FILES_PORT:  # two names may be the same safe name
        folder = f"{folder}/{number}"
    target = f"{folder}/{_safe_name(file['name'])}"
    version = get_storage(target).copy(file["uri"], target, version=file["storage_version"])
    return file | {"uri": target, "storage_version": version}


def _mime_type(validator: Validator, extension: str) -> str:
    kinds = {
        f".{entry['extension'].lstrip('.')}": entry["mime_type"] for entry in validator.accepts
    }
    return str(kinds.get(extension, ""))


def _safe_name(filename: str) -> str:
    """Return a name that is a file name everywhere, with the extension of `filename`."""
    path = PurePosixPath(filename)
    stem = _UNSAFE.sub("_", path.stem).strip("._-")[:_MAX_NAME] or "submission"
    return f"{stem}{_UNSAFE.sub('', path.suffix.lower())[:20]}"
