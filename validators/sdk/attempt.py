"""Attempt of a container step: reads its envelope and files, stores its artifacts and output."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Executor, Future
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError
from validibot_shared.canonicalization import sha256_hex_for_model
from validibot_shared.validations.envelopes import (
    InputFileItem,
    RawOutputs,
    ResourceFileItem,
    Severity,
    ValidationArtifact,
    ValidationCallback,
    ValidationInputEnvelope,
    ValidationMessage,
    ValidationOutputEnvelope,
    ValidationTiming,
)

from validators.sdk.manifest import FURTHER_FILES_PORT
from validators.sdk.storage import (
    ObjectExists,
    ObjectNotFound,
    Storage,
    StorageError,
    StorageOptions,
    StoredObject,
    open_storage,
)
from validators.sdk.storage.claim import claim
from validators.sdk.validation import ArtifactFile, ContainerValidator, Failure, ValidationResult
from validators.sdk.worker import Capability

log = logging.getLogger(__name__)

_ENVELOPE_LIMIT = 4 << 20
_OUTPUT_LIMIT = 25 << 20


class EnvelopeUnusable(Exception):
    """No input envelope can be read, so nothing can be stored and nobody called back."""


class ClaimLost(Exception):
    """The attempt belongs to another execution, or its launch was withdrawn."""


class ExecutionAttempt[Envelope: ValidationInputEnvelope]:
    """Attempt that an input envelope describes. Raises EnvelopeUnusable."""

    def __init__(
        self,
        validator: ContainerValidator[Envelope],
        input_uri: str,
        *,
        capability: Capability | None = None,
    ) -> None:
        self._options = StorageOptions(access=capability.access if capability else None)
        try:
            content = self._open(input_uri).read(input_uri, limit=_ENVELOPE_LIMIT)
            self.envelope = validator.input_envelope.model_validate_json(content)
            self.storage = self._open(self.envelope.context.expected_output_uri)
        except (StorageError, ValidationError) as error:
            raise EnvelopeUnusable(f"{input_uri}: {error}") from error
        if capability:
            capability.prove(self.envelope)
        self._validator = validator
        self._uploads: dict[Path, Future[ValidationArtifact]] = {}
        self._digest = sha256_hex_for_model(self.envelope)

    @property
    def output_uri(self) -> str:
        return self.envelope.context.expected_output_uri

    def claim(self, execution: str) -> None:
        """Claim the attempt for an execution. Raises ClaimLost, StorageError."""
        holder = claim(self.storage, self.output_uri.rpartition("/")[0], execution)
        if holder != execution:
            raise ClaimLost(f"{execution} may not work on this attempt, which is {holder}'s")

    def stored_output(self) -> ValidationOutputEnvelope | None:
        """Return the output of an earlier execution of this attempt; it is not computed again.

        Raises StorageError if another object is in its place.
        """
        try:
            content = self.storage.read(self.output_uri, limit=_OUTPUT_LIMIT)
        except ObjectNotFound:
            return None
        try:
            output = self._validator.output_envelope.model_validate_json(content)
        except ValidationError as error:
            raise StorageError(f"{self.output_uri} is not an output envelope: {error}") from error
        if any(getattr(output, name) != value for name, value in self._identity().items()):
            raise StorageError(f"{self.output_uri} is the output of another attempt.")
        return output

    def fetch_files(
        self, folder: Path, *, pool: Executor
    ) -> tuple[dict[str, Path], dict[str, Path]]:
        """Return the verified files of the envelope: by port key, and further files by name.

        Each file of a port has a folder of its own; further files share one. Raises Failure.
        """
        items: list[InputFileItem | ResourceFileItem] = [
            *self.envelope.input_files,
            *self.envelope.resource_files,
        ]
        further = [item for item in items if item.port_key == FURTHER_FILES_PORT]
        others = [item for item in items if item.port_key != FURTHER_FILES_PORT]
        files = {
            item.port_key: folder / str(number) / item.name for number, item in enumerate(others)
        }
        further_files = {item.name: folder / FURTHER_FILES_PORT / item.name for item in further}
        _require_one_each("port", [item.port_key for item in others])
        _require_one_each("the name", [item.name for item in further])
        targets = [*files.values(), *further_files.values()]
        try:
            list(pool.map(self._fetch, [*others, *further], targets))
        except StorageError as error:
            raise Failure(str(error), code="INPUT_UNAVAILABLE") from error
        return files, further_files

    def upload(self, artifact: ArtifactFile, *, pool: Executor) -> None:
        """Begin to store an artifact, unless that has begun; `publish` waits for it."""
        if artifact.path not in self._uploads:
            self._uploads[artifact.path] = pool.submit(self._store, artifact)

    def publish(
        self, result: ValidationResult, *, timing: ValidationTiming, pool: Executor
    ) -> ValidationOutputEnvelope:
        """Store the artifacts and the output envelope. Raises StorageError, ObjectExists."""
        artifacts, lost = self._store_artifacts(result.artifacts, pool=pool)
        output = self._validator.output_envelope(
            **self._identity(),
            status=result.status,
            timing=timing,
            messages=[*result.messages, *lost],
            metrics=result.metrics,
            artifacts=artifacts,
            raw_outputs=self._store_manifest(artifacts) if artifacts else None,
            outputs=self._validator.outputs_of_failure
            if result.outputs is None
            else result.outputs,
        )
        content = output.model_dump_json(indent=2, exclude_none=True).encode()
        self.storage.create(self.output_uri, content, mime_type="application/json")
        return output

    def callback(self, output: ValidationOutputEnvelope) -> tuple[ValidationCallback, str] | None:
        """Return the callback and its URL; None if the envelope asks for no callback."""
        context = self.envelope.context
        if context.skip_callback or context.callback_url is None:
            return None
        if context.callback_id is None or context.callback_nonce is None:
            return None
        callback = ValidationCallback(
            run_id=self.envelope.run_id,
            callback_id=context.callback_id,
            callback_nonce=context.callback_nonce,
            status=output.status,
            result_uri=self.output_uri,
        )
        return callback, str(context.callback_url)

    def _open(self, uri: str) -> Storage:
        return open_storage(uri, self._options)

    def _fetch(self, item: InputFileItem | ResourceFileItem, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        self._open(item.uri).fetch(
            item.uri, target, size=item.size_bytes, sha256=item.sha256, version=item.storage_version
        )

    def _identity(self) -> dict[str, Any]:
        context = self.envelope.context
        return {
            "run_id": self.envelope.run_id,
            "step_run_id": context.step_run_id,
            "execution_attempt_id": context.execution_attempt_id,
            "attempt_contract_version": context.attempt_contract_version,
            "input_envelope_sha256": self._digest,
            "output_uri": self.output_uri,
            "validator": self.envelope.validator,
        }

    @property
    def _outputs_uri(self) -> str:
        return self.envelope.context.execution_bundle_uri.rstrip("/") + "/outputs"

    def _store_artifacts(
        self, artifacts: Iterable[ArtifactFile], *, pool: Executor
    ) -> tuple[list[ValidationArtifact], list[ValidationMessage]]:
        """Store the artifacts; one that cannot be stored becomes a warning, the verdict stays."""
        stored: list[ValidationArtifact] = []
        lost: list[ValidationMessage] = []
        artifacts = list(artifacts)
        for artifact in artifacts:
            self.upload(artifact, pool=pool)
        for artifact in artifacts:
            try:
                stored.append(self._uploads[artifact.path].result())
            except (StorageError, OSError) as error:
                log.warning("%s was not stored: %s", artifact.path.name, error)
                text = f"The output file {artifact.path.name} could not be stored."
                lost.append(
                    ValidationMessage(
                        severity=Severity.WARNING, code="ARTIFACT_NOT_STORED", text=text
                    )
                )
        return stored, lost

    def _store(self, artifact: ArtifactFile) -> ValidationArtifact:
        with artifact.path.open("rb") as file:
            stored = self._create(artifact.path.name, file, mime_type=artifact.mime_type)
        return ValidationArtifact(
            name=artifact.path.name,
            type=artifact.type,
            mime_type=artifact.mime_type,
            uri=stored.uri,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            storage_version=stored.version,
        )

    def _create(self, name: str, source: BinaryIO, *, mime_type: str) -> StoredObject:
        """Store an output, beside that of an execution of this attempt that did not end.

        An object is never written over: an equal one counts as stored, and where another one is, the
        output goes into a folder that is named by its digest. Raises StorageError.
        """
        uri = f"{self._outputs_uri}/{name}"
        try:
            return self.storage.create(uri, source, mime_type=mime_type)
        except ObjectExists:
            source.seek(0)
            digest = _sha256(iter(lambda: source.read(1 << 20), b""))
            size = source.tell()
            source.seek(0)
        other = f"{self._outputs_uri}/{digest[:16]}/{name}"
        for place in (uri, other):
            version = self.storage.current(place)
            if version and _sha256(self.storage.stream(place, version=version)) == digest:
                return StoredObject(place, version, size, digest)
        return self.storage.create(other, source, mime_type=mime_type)

    def _store_manifest(self, artifacts: list[ValidationArtifact]) -> RawOutputs | None:
        manifest = {
            "format": "directory",
            "base_uri": f"{self._outputs_uri}/",
            "files": [file.model_dump(exclude={"type", "mime_type"}) for file in artifacts],
            "total_files": len(artifacts),
            "total_bytes": sum(file.size_bytes for file in artifacts),
        }
        try:
            content = BytesIO(json.dumps(manifest, indent=2).encode())
            stored = self._create("manifest.json", content, mime_type="application/json")
        except StorageError as error:
            log.warning("the manifest was not stored: %s", error)
            return None
        return RawOutputs(format="directory", manifest_uri=stored.uri)


def _sha256(chunks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _require_one_each(kind: str, keys: list[str]) -> None:
    """Raise Failure if a port or name has more than one file."""
    for key, count in Counter(keys).items():
        if count > 1:
            text = f"The envelope has {count} files for {kind} {key!r}; it may have one."
            raise Failure(text, code="ENVELOPE_AMBIGUOUS")
