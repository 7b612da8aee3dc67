"""What a validator is given, what it answers, and what it consists of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from validibot_shared.validations.envelopes import (
    Severity,
    ValidationInputEnvelope,
    ValidationMessage,
    ValidationMetric,
    ValidationOutputEnvelope,
    ValidationStatus,
)


@dataclass(frozen=True, kw_only=True)
class Request[Envelope: ValidationInputEnvelope]:
    envelope: Envelope
    files: Mapping[str, Path]
    """The verified files by port key, each under the name that the envelope gave it."""
    folder: Path
    """Fresh and writable; removed when the attempt ends."""
    deadline: float
    """When the work must be done, on the monotonic clock."""
    memory_mb: int | None = None

    def file(self, port_key: str) -> Path:
        try:
            return self.files[port_key]
        except KeyError:
            text = f"The envelope has no file for port {port_key!r}."
            raise Failure(text, code="INPUT_MISSING") from None

    def seconds_left(self) -> float:
        return max(self.deadline - monotonic(), 0.0)


@dataclass(frozen=True, kw_only=True)
class Artifact:
    path: Path
    type: str
    mime_type: str = "application/octet-stream"


@dataclass(frozen=True, kw_only=True)
class Result:
    status: ValidationStatus
    messages: list[ValidationMessage] = field(default_factory=list)
    metrics: list[ValidationMetric] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    outputs: Any = None


@dataclass(frozen=True, kw_only=True)
class Validator[Envelope: ValidationInputEnvelope]:
    validate: Callable[[Request[Envelope]], Result]
    input_envelope: type[Envelope]
    output_envelope: type[ValidationOutputEnvelope] = ValidationOutputEnvelope
    outputs_of_failure: Any = None
    """What an output envelope whose class insists on `outputs` carries when nothing ran."""
    memory_mb: int | None = None


class Failure(Exception):
    """The validator cannot do its work, and the submission is not to blame."""

    def __init__(self, text: str, *, code: str) -> None:
        super().__init__(text)
        self.code = code


def error(text: str, *, code: str) -> ValidationMessage:
    return ValidationMessage(severity=Severity.ERROR, code=code, text=text)


def rejected(*messages: ValidationMessage, outputs: Any = None) -> Result:
    """The submission is at fault."""
    return Result(
        status=ValidationStatus.FAILED_VALIDATION, messages=list(messages), outputs=outputs
    )


def failed(text: str, *, code: str, outputs: Any = None) -> Result:
    """We are at fault."""
    return Result(
        status=ValidationStatus.FAILED_RUNTIME, messages=[error(text, code=code)], outputs=outputs
    )
