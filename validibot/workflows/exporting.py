"""Export of a version of a workflow as a text or as a bundle."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from validibot.core.storage import get_storage
from validibot.engines.yaml_text import MAX_BYTES
from validibot.workflows.bundle import Bundle, write_bundle
from validibot.workflows.document import (
    FORMAT,
    AssertionSection,
    ConstantSection,
    RetentionSection,
    SampleSection,
    SignalSection,
    StepFileSection,
    StepSection,
    WorkflowFile,
    write_workflow,
)
from validibot.workflows.models import Assertion, Sample, Step, StepFile, Workflow
from validibot.workflows.yaml_writer import is_literal

# A larger file of a step stands in a text by its digest only.
MAX_INLINE_BYTES = 64 * 1024
_STEP_TEXTS = ("description", "when", "message", "success_message", "weather", "scenario")
_ASSERTION_TEXTS = ("when", "message", "success_message", "path", "notes")


class ExportTooLarge(Exception):
    """The text would be too long to be imported again; a bundle is not."""


def export_text(workflow: Workflow) -> str:
    """Return a version as the text of a workflow file.

    Samples and small files stand in it. Raises ExportTooLarge and StorageError.
    """
    text = write_workflow(describe(workflow))
    if len(text.encode()) > MAX_BYTES:
        raise ExportTooLarge(
            f"The samples make the text longer than {MAX_BYTES:,} bytes. Export a bundle instead."
        )
    return text


def export_bundle(workflow: Workflow) -> bytes:
    """Return a version as a zip file with all its files. Raises StorageError."""
    files: dict[str, bytes] = {}
    text = write_workflow(describe(workflow, files=files))
    return write_bundle(Bundle(text.encode(), files))


def describe(workflow: Workflow, *, files: dict[str, bytes] | None = None) -> WorkflowFile:
    """Return a version as a workflow file; with `files`, put its files there. Raises StorageError."""
    fields: dict[str, Any] = {"format": FORMAT, "slug": workflow.slug, "name": workflow.name}
    fields |= _given(workflow, ("description", "success_message", "accepted_types", "input_schema"))
    retention = {
        "input_days": workflow.input_retention_days,
        "result_days": workflow.result_retention_days,
    }
    if given := {name: days for name, days in retention.items() if days is not None}:
        fields["retention"] = RetentionSection(**given)
    if workflow.constants:
        fields["constants"] = [
            ConstantSection(**each) for each in map(_ordered, workflow.constants)
        ]
    steps = workflow.steps.select_related("validator").prefetch_related("assertions", "files")
    fields["steps"] = [_step(step, files) for step in steps]
    if samples := [_sample(sample, files) for sample in workflow.samples.all()]:
        fields["samples"] = samples
    return WorkflowFile(**fields)


def _step(step: Step, files: dict[str, bytes] | None) -> StepSection:
    validator = step.validator
    fields: dict[str, Any] = {"name": step.name}
    fields |= _given(step, _STEP_TEXTS)
    fields["validator"] = f"{validator.slug}@{validator.version}"
    if not step.is_enabled:
        fields["is_enabled"] = False
    if step.on_failure != "stop":
        fields["on_failure"] = step.on_failure
    if step.severity != "ERROR":
        fields["severity"] = step.severity
    if step.config:
        fields["config"] = _sorted(step.config)
    stored = sorted(step.files.all(), key=lambda file: file.port_key)
    if stored:
        fields["files"] = [_file(file, files) for file in stored]
    if step.signals:
        fields["signals"] = [SignalSection(**each) for each in step.signals]
    if assertions := [_assertion(each) for each in step.assertions.all()]:
        fields["assertions"] = assertions
    return StepSection(**fields)


def _assertion(row: Assertion) -> AssertionSection:
    fields: dict[str, Any] = {"expression": row.expression}
    if row.severity != "ERROR":
        fields["severity"] = row.severity
    return AssertionSection(**fields, **_given(row, _ASSERTION_TEXTS))


def _file(row: StepFile, files: dict[str, bytes] | None) -> StepFileSection:
    fields: dict[str, Any] = {"port": row.port_key, "name": row.name, "sha256": row.sha256}
    if files is not None or row.size_bytes <= MAX_INLINE_BYTES:
        content = get_storage(row.uri).read(
            row.uri, version=row.storage_version, limit=row.size_bytes
        )
        fields |= _content(content, f"files/{row.sha256[:12]}-{row.name}", files)
    return StepFileSection(**fields)


def _sample(row: Sample, files: dict[str, bytes] | None) -> SampleSection:
    content = bytes(row.content)
    fields: dict[str, Any] = {"filename": row.filename}
    fields |= _given(row, ("title",))
    if not row.passes:
        fields["passes"] = False
    if row.metadata:
        fields["metadata"] = _sorted(row.metadata)
    fields |= _content(content, f"samples/{row.filename}", files)
    return SampleSection(**fields)


def _content(content: bytes, path: str, files: dict[str, bytes] | None) -> dict[str, str]:
    """Return the content of a file, or its path and digest if `files` takes it."""
    if files is not None:
        files[path] = content
        return {"sha256": hashlib.sha256(content).hexdigest(), "path": path}
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = None
    if text is not None and is_literal(text):
        return {"text": text}
    return {"base64": base64.b64encode(content).decode()}


def _given(row: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields that are not empty."""
    return {name: value for name in names if (value := getattr(row, name))}


def _ordered(constant: Mapping[str, Any]) -> dict[str, Any]:
    """Return a constant with its keys in the order of the file."""
    return {
        name: _sorted(constant[name]) for name in ConstantSection.model_fields if name in constant
    }


def _sorted(value: Any) -> Any:
    """Return a JSON value with sorted keys: PostgreSQL keeps no order."""
    match value:
        case dict():
            return {key: _sorted(value[key]) for key in sorted(value)}
        case list():
            return [_sorted(item) for item in value]
    return value
