"""The output envelope of an attempt: read, verified, turned into a verdict.

The stored object decides, not the callback that announced it. It counts only if it answers this
attempt: run, step run, attempt, digest of the input envelope, place and validator must be those that
the attempt was given. Artifacts count if they are stored as the envelope describes them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from pydantic import ValidationError
from validibot_shared.validations.envelopes import (
    ATTEMPT_CONTRACT_VERSION,
    Severity,
    ValidationArtifact,
    ValidationMessage,
    ValidationMetric,
    ValidationOutputEnvelope,
    ValidationStatus,
    ValidatorType,
)

from validibot.core.envelopes import faults_of, language_of
from validibot.core.storage import ObjectNotFound, ObjectTooLarge, StoredObject, get_storage
from validibot.engines.problems import DocumentProblem, storable
from validibot.runs.models import Artifact, Attempt, Finding
from validibot.runs.states import ErrorCategory, RunStatus, StepStatus
from validibot.runs.verdict import Verdict, broken, finding, judged, timed_out
from validibot.workflows.checks import finding_severities
from validibot.workflows.models import Validator

MAX_ARTIFACTS = 500
TIMEOUT_SUFFIX = "_TIMEOUT"
_MAX_NAME = 255
_MAX_TYPE = 100


class OutputMissing(Exception):
    """There is no output object."""


class OutputInvalid(Exception):
    """The stored object is not a valid output of this attempt."""


def validator_identity(validator: Validator) -> dict[str, str]:
    """Return the validator as input and output envelopes name it."""
    return {
        "id": str(validator.pk),
        "type": language_of(validator.validation_type).kind.value,
        "version": validator.version,
    }


def read_output(attempt: Attempt, result_uri: str) -> ValidationOutputEnvelope:
    """Return the verified output envelope. Raises OutputMissing, OutputInvalid, StorageError."""
    if result_uri != attempt.output_uri:
        raise OutputInvalid("The callback names a file that is not the output of its attempt.")
    storage = get_storage(attempt.output_uri)
    try:
        content = storage.read(attempt.output_uri, limit=settings.MAX_ENVELOPE_BYTES)
    except ObjectNotFound:
        raise OutputMissing("The validator stored no output.") from None
    except ObjectTooLarge:
        limit = f"{settings.MAX_ENVELOPE_BYTES:,} bytes"
        raise OutputInvalid(f"The validator's output is larger than {limit}.") from None
    validator = attempt.step_run.step.validator
    try:
        envelope = language_of(validator.validation_type).output_class.model_validate_json(content)
    except ValidationError as error:
        fault = faults_of(error, root="envelope")
        raise OutputInvalid(f"The validator's output is malformed: {fault}.") from None
    _check_identity(envelope, _expected(attempt))
    return envelope


def verdict_of(envelope: ValidationOutputEnvelope, attempt: Attempt) -> Verdict:
    """Return the verdict of an envelope, before the step's assertions."""
    severities = finding_severities(attempt.step_run.step.config)
    notes = [_note(message, severities) for message in envelope.messages]
    artifacts, doubts = _artifacts(envelope, attempt)
    notes += [finding(doubt) for doubt in doubts]
    match envelope.status:
        case ValidationStatus.CANCELLED:
            return Verdict(
                status=StepStatus.CANCELED,
                run_status=RunStatus.CANCELED,
                error="The validator was cancelled.",
                findings=notes,
                artifacts=artifacts,
            )
        case ValidationStatus.FAILED_RUNTIME:
            reason = next((note for note in notes if note.severity == "ERROR"), None)
            error = reason.message if reason else ""
            # A validator that keeps the time of its own engine answers before the backend ends it.
            if reason and reason.code.endswith(TIMEOUT_SUFFIX):
                return timed_out(error, findings=notes, artifacts=artifacts)
            return broken(
                error or "The validator failed and did not say why.",
                ErrorCategory.RUNTIME_ERROR,
                findings=notes,
                artifacts=artifacts,
            )
        case ValidationStatus.FAILED_VALIDATION:
            lowered = any(
                note.severity != "ERROR" and message.severity is Severity.ERROR
                for note, message in zip(notes, envelope.messages, strict=False)
            )
            # Without any error a failed validation needs one, except if the step has lowered them.
            return judged(
                notes if lowered else _with_error(notes),
                outputs=_outputs(envelope, attempt),
                artifacts=artifacts,
            )
    # Errors count although the validator passed if it is a custom one, or if the step says so.
    custom = envelope.validator.type == ValidatorType.CUSTOM_VALIDATOR
    raised = any(note.severity == "ERROR" and note.code in severities for note in notes)
    return judged(
        notes if custom or raised else _with_warning(notes),
        outputs=_outputs(envelope, attempt),
        artifacts=artifacts,
    )


def _expected(attempt: Attempt) -> dict[str, Any]:
    return {
        "run_id": str(attempt.step_run.run_id),
        "step_run_id": str(attempt.step_run_id),
        "execution_attempt_id": str(attempt.pk),
        "attempt_contract_version": ATTEMPT_CONTRACT_VERSION,
        "input_envelope_sha256": attempt.input_sha256,
        "output_uri": attempt.output_uri,
        "validator": validator_identity(attempt.step_run.step.validator),
    }


def _check_identity(envelope: ValidationOutputEnvelope, expected: Mapping[str, Any]) -> None:
    told = envelope.model_dump(mode="json", include=set(expected))
    wrong = sorted(name for name, value in expected.items() if told[name] != value)
    if wrong:
        raise OutputInvalid(
            f"The validator's output does not belong to this attempt: {', '.join(wrong)}."
        )


def _note(message: ValidationMessage, severities: Mapping[str, str]) -> Finding:
    place = message.location
    return finding(
        DocumentProblem(
            message=message.text,
            severity=severities.get(message.code or "", message.severity.value),
            code=message.code or "",
            path=(place.path if place else None) or "",
            line=place.line if place else None,
            column=place.column if place else None,
        )
    )


def _with_error(notes: list[Finding]) -> list[Finding]:
    if any(note.severity == "ERROR" for note in notes):
        return notes
    reason = DocumentProblem("The validator refused the submission.", code="validator.refused")
    return [*notes, finding(reason)]


def _with_warning(notes: list[Finding]) -> list[Finding]:
    """Turn the errors of a shipped validator that passed into warnings."""
    errors = [note for note in notes if note.severity == "ERROR"]
    if not errors:
        return notes
    for note in errors:
        note.severity = "WARNING"
    text = f"The validator passed the submission although it found {len(errors)} errors."
    return [
        *notes,
        finding(DocumentProblem(text, severity="WARNING", code="validator.passed_with_errors")),
    ]


def _outputs(envelope: ValidationOutputEnvelope, attempt: Attempt) -> dict[str, Any]:
    """Return the values that the catalogue names, by slug; a path without a value is left out.

    Metrics are a list in the envelope; a path finds them by category, then by name.
    """
    whole = envelope.model_dump(mode="json")
    whole["metrics"] = _by_category(envelope.metrics)
    found = {}
    for output in attempt.step_run.step.validator.outputs:
        value: Any = whole
        for key in output["path"].split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            found[output["slug"]] = value
    return found


def _by_category(metrics: Iterable[ValidationMetric]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {}
    for metric in metrics:
        values.setdefault(metric.category or "", {})[metric.name] = metric.value
    return values


def _artifacts(
    envelope: ValidationOutputEnvelope, attempt: Attempt
) -> tuple[list[Artifact], list[DocumentProblem]]:
    """Return the artifacts that are stored as the envelope says, and a warning for each other one."""
    if not envelope.artifacts:
        return [], []
    folder = f"{attempt.bundle_uri}/"
    stored = {item.uri: item for item in get_storage(folder).list_below(folder)}
    kept: dict[str, Artifact] = {}
    doubts = []
    for artifact in envelope.artifacts[:MAX_ARTIFACTS]:
        if _is_as_announced(artifact, stored.get(artifact.uri)) and artifact.name not in kept:
            kept[artifact.name] = _row(artifact)
        else:
            doubts.append(_doubt(artifact.name))
    doubts += [_doubt(artifact.name) for artifact in envelope.artifacts[MAX_ARTIFACTS:]]
    return list(kept.values()), doubts


def _is_as_announced(artifact: ValidationArtifact, stored: StoredObject | None) -> bool:
    return (
        stored is not None
        and len(artifact.name) <= _MAX_NAME
        and stored.version == artifact.storage_version
        and stored.size_bytes == artifact.size_bytes
        and stored.sha256 in ("", artifact.sha256)
    )


def _row(artifact: ValidationArtifact) -> Artifact:
    return Artifact(
        name=storable(artifact.name, _MAX_NAME),
        type=storable(artifact.type, _MAX_TYPE),
        mime_type=storable(artifact.mime_type or "application/octet-stream", _MAX_TYPE),
        uri=artifact.uri,
        storage_version=artifact.storage_version,
        size_bytes=artifact.size_bytes,
        sha256=artifact.sha256,
    )


def _doubt(name: str) -> DocumentProblem:
    text = (
        f"The output file {name[:200]} differs from what the validator announced and was left out."
    )
    return DocumentProblem(text, severity="WARNING", code="validator.artifact_left_out")
