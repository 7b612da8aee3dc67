"""Types that a validator works with: its request, its result, and its own description."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from validibot_shared.validations.envelopes import (
    MessageLocation,
    Severity,
    ValidationInputEnvelope,
    ValidationMessage,
    ValidationMetric,
    ValidationOutputEnvelope,
    ValidationStatus,
)

from validators.sdk.environment import read_secret


@dataclass(frozen=True, kw_only=True)
class ArtifactFile:
    """File that becomes an artifact of the attempt."""

    path: Path
    type: str
    mime_type: str = "application/octet-stream"


def _upload_later(artifact: ArtifactFile) -> None:
    """Leave an artifact to the end of the attempt, which stores those of the result."""


@dataclass(frozen=True, kw_only=True)
class ValidationRequest[Envelope: ValidationInputEnvelope]:
    """Input of a validation.

    `files` are the verified files by port key, each under its name in the envelope. `further_files`
    are those that were sent beside the submission, by their name in the envelope, which is a plain
    file name; they lie in one folder, each under its name. `folder` is empty and writable, and is
    removed when the attempt ends. `deadline` is on the monotonic clock. `upload` begins to store a
    file that will not change any more, while the validator goes on; the result has to list it, too.
    """

    envelope: Envelope
    files: Mapping[str, Path]
    folder: Path
    deadline: float
    memory_mb: int | None = None
    further_files: Mapping[str, Path] = field(default_factory=dict)
    upload: Callable[[ArtifactFile], None] = _upload_later

    def file(self, port_key: str) -> Path:
        """Return the file of a port. Raises Failure."""
        try:
            return self.files[port_key]
        except KeyError:
            text = f"The envelope has no file for port {port_key!r}."
            raise Failure(text, code="INPUT_MISSING") from None

    def secret(self, name: str) -> str:
        """Return the value of a secret that the manifest declares. Raises Failure."""
        try:
            return read_secret(name)
        except KeyError:
            raise Failure(f"The secret {name} is not set.", code="SECRET_MISSING") from None

    def seconds_left(self) -> float:
        """Return the seconds until the deadline."""
        return max(self.deadline - monotonic(), 0.0)


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """Result of a validation."""

    status: ValidationStatus
    messages: list[ValidationMessage] = field(default_factory=list)
    metrics: list[ValidationMetric] = field(default_factory=list)
    artifacts: list[ArtifactFile] = field(default_factory=list)
    outputs: Any = None


@dataclass(frozen=True, kw_only=True)
class ContainerValidator[Envelope: ValidationInputEnvelope]:
    """Validator: its function and the types of its envelopes.

    `outputs_of_failure` are the outputs of an envelope whose class requires some, if nothing ran.
    """

    validate: Callable[[ValidationRequest[Envelope]], ValidationResult]
    input_envelope: type[Envelope]
    output_envelope: type[ValidationOutputEnvelope] = ValidationOutputEnvelope
    outputs_of_failure: Any = None
    memory_mb: int | None = None


class Failure(Exception):
    """The validator cannot do its work, and not because of the submission."""

    def __init__(self, text: str, *, code: str) -> None:
        super().__init__(text)
        self.code = code


def error(text: str, *, code: str, location: MessageLocation | None = None) -> ValidationMessage:
    """Return a message of severity ERROR."""
    return ValidationMessage(severity=Severity.ERROR, code=code, text=text, location=location)


def rejected(*messages: ValidationMessage, outputs: Any = None) -> ValidationResult:
    """Return a failed validation: the submission is at fault."""
    return ValidationResult(
        status=ValidationStatus.FAILED_VALIDATION, messages=list(messages), outputs=outputs
    )


def failed(text: str, *, code: str, outputs: Any = None) -> ValidationResult:
    """Return a runtime failure: the platform is at fault."""
    return ValidationResult(
        status=ValidationStatus.FAILED_RUNTIME, messages=[error(text, code=code)], outputs=outputs
    )
