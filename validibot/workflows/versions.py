"""Versions of workflows: freezing one at its first run, and making the next one.

A run must find exactly the steps that its version had when it started, so the first run freezes the
version. An edit of a frozen version changes a copy with the next number; the copy is kept only if it
differs. Freezing and editing lock the version's row, so a run never sees half of an edit.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from validibot.workflows.fmu import copy_description
from validibot.workflows.models import Assertion, Sample, Step, StepFile, Workflow

_WORKFLOW_FIELDS = (
    "name",
    "description",
    "constants",
    "success_message",
    "accepted_types",
    "input_schema",
)
_STEP_FIELDS = (
    "order",
    "name",
    "description",
    "validator_id",
    "config",
    "is_enabled",
    "when",
    "on_failure",
    "severity",
    "signals",
    "message",
    "success_message",
    "scenario",
    "weather",
)
ASSERTION_FIELDS = (
    "order",
    "expression",
    "when",
    "severity",
    "message",
    "success_message",
    "path",
    "notes",
)
_FILE_FIELDS = ("port_key", "name", "type", "uri", "storage_version", "size_bytes", "sha256")
_SAMPLE_FIELDS = ("title", "filename", "content", "passes", "metadata")


@dataclass(frozen=True, slots=True)
class NextVersion:
    """A copy of a version, and the copies of its parts by the primary key of the original."""

    workflow: Workflow
    copies: Mapping[type[models.Model], dict[int, Any]] = field(default_factory=dict)

    def copy_of[P: models.Model](self, part: P) -> P:
        """Return the copy of a part of the original version."""
        copy: P = self.copies[type(part)][part.pk]
        return copy


def freeze(workflow: Workflow) -> Workflow:
    """Freeze the version for its first run; return it, reloaded if it was not frozen before.

    This waits for a concurrent edit and returns the steps of that edit.
    """
    if workflow.is_frozen:
        return workflow
    with transaction.atomic():
        locked = Workflow.locked(workflow.pk)
        if locked is None:
            raise Workflow.DoesNotExist(f"{workflow} was deleted.")
        if not locked.is_frozen:
            Workflow.with_trials.filter(pk=locked.pk).update(frozen_at=timezone.now())
        return (
            Workflow.with_trials.select_related("organisation", "project")
            .prefetch_related(models.Prefetch("steps", Step.objects.select_related("validator")))
            .get(pk=locked.pk)
        )


@transaction.atomic
def next_version(workflow: Workflow) -> NextVersion:
    """Copy a version with its steps, assertions, files and samples to the next free number."""
    versions = Workflow.objects.select_for_update().filter(
        organisation_id=workflow.organisation_id, slug=workflow.slug
    )
    last = max(versions.values_list("version", flat=True))
    copy = Workflow(
        organisation_id=workflow.organisation_id,
        project_id=workflow.project_id,
        author_id=workflow.author_id,
        slug=workflow.slug,
        name=workflow.name,
        version=last + 1,
        is_active=workflow.is_active,
    )
    return copy_version(workflow, copy)


def copy_version(workflow: Workflow, copy: Workflow) -> NextVersion:
    """Save `copy` with the content of a version, except for its name."""
    for name in {*_WORKFLOW_FIELDS, *Workflow.SHARED_PROPERTIES} - {"name"}:
        setattr(copy, name, getattr(workflow, name))
    copy.save()
    steps = _copies(workflow.steps.all(), _STEP_FIELDS, workflow=copy)
    parts: dict[type[models.Model], dict[int, models.Model]] = {Step: steps, Assertion: {}}
    parts |= {StepFile: {}, Sample: _copies(workflow.samples.all(), _SAMPLE_FIELDS, workflow=copy)}
    for step in workflow.steps.all():
        target = steps[step.pk]
        parts[Assertion] |= _copies(step.assertions.all(), ASSERTION_FIELDS, step=target)
        files = list(step.files.all())
        copies = _copies(files, _FILE_FIELDS, step=target)
        for file in files:
            copy_description(file, copies[file.pk])
        parts[StepFile] |= copies
    return NextVersion(copy, parts)


@contextmanager
def edited(workflow: Workflow) -> Iterator[Workflow]:
    """Yield a version that may be changed: the given one or, if it is frozen, its next version.

    A next version that is equal to the frozen one at the end is deleted.
    """
    with transaction.atomic():
        locked = Workflow.locked(workflow.pk)
        if locked is None or not locked.is_frozen:
            yield workflow
            return
        copy = next_version(locked).workflow
        yield copy
        if content_of(copy) == content_of(locked):
            copy.delete()


def newest(workflow: Workflow) -> Workflow:
    """Return the newest version of the same workflow."""
    return Workflow.with_trials.filter(
        organisation_id=workflow.organisation_id, slug=workflow.slug
    ).latest("version")


def content_of(workflow: Workflow) -> dict[str, Any]:
    """Return all fields that affect a run of the version, for comparison."""
    fresh = Workflow.objects.get(pk=workflow.pk)
    return _values(fresh, _WORKFLOW_FIELDS) | {
        "steps": [
            _values(step, _STEP_FIELDS)
            | {
                "assertions": [_values(each, ASSERTION_FIELDS) for each in step.assertions.all()],
                "files": [_values(each, _FILE_FIELDS) for each in step.files.order_by("port_key")],
            }
            for step in fresh.steps.all()
        ]
    }


def _copies(
    rows: "Iterable[models.Model]", fields: tuple[str, ...], **parent: models.Model
) -> dict[int, Any]:
    """Insert copies of rows under another parent; return them by the key of their original."""
    originals = list(rows)
    copies: list[Any] = [type(row)(**parent, **_values(row, fields)) for row in originals]
    if copies:
        type(copies[0]).objects.bulk_create(copies)
    return {row.pk: copy for row, copy in zip(originals, copies, strict=True)}


def _values(row: models.Model, fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in fields}
