"""Trials of a step by a real run: a hidden workflow with that step alone.

The step is copied as it stands in the editor, saved or not, so a trial neither freezes a version nor
changes one; or it is made of a sample of a custom validator. Hidden workflows are in no list; the
purge removes them with their runs after a day.
"""

import datetime as dt
import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from validibot.accounts.models import Organisation, User
from validibot.workflows.fmu import copy_description
from validibot.workflows.models import FIRST_STEP, Step, StepFile, ValidatorSample, Workflow

RETENTION_DAYS = 1
# Hidden workflows that one pass of the purge deletes at a time.
BATCH = 500
_FILE_FIELDS = ("port_key", "name", "type", "uri", "storage_version", "size_bytes", "sha256")


def begin(workflow: Workflow, *, author: User, inputs: Mapping[str, str]) -> Workflow:
    """Create the hidden workflow of a trial, without its step.

    A trial without `inputs` checks none: a file that is chosen in the editor has none.
    """
    return _create_hidden(
        workflow.organisation,
        author,
        workflow.name,
        project=workflow.project,
        constants=workflow.constants,
        input_schema=workflow.input_schema if inputs else "",
    )


@transaction.atomic
def begin_sample(sample: ValidatorSample, *, author: User) -> Workflow:
    """Create the hidden workflow that runs a version of a custom validator on one of its samples.

    Its step has the settings of the sample and no assertions, as `python -m validators.sdk` has none.
    Raises ValidationError if the settings are not those that the manifest describes.
    """
    validator = sample.validator
    assert validator.organisation is not None, f"{validator} belongs to the product"
    hidden = _create_hidden(validator.organisation, author, str(validator)[:150])
    Step.objects.create(
        workflow=hidden,
        order=FIRST_STEP,
        name=sample.title,
        validator=validator,
        config=sample.settings,
    )
    return hidden


def _create_hidden(organisation: Organisation, author: User, name: str, **fields: Any) -> Workflow:
    return Workflow.with_trials.create(
        organisation=organisation,
        author=author,
        slug=f"trial-{uuid.uuid4().hex}",
        name=name,
        is_trial=True,
        input_retention_days=RETENTION_DAYS,
        result_retention_days=RETENTION_DAYS,
        **fields,
    )


def copy_files(step: Step, copy: Step) -> None:
    """Give the copy of a step the files that its original keeps."""
    for file in step.files.all():
        fields = {name: getattr(file, name) for name in _FILE_FIELDS}
        copy_description(file, StepFile.objects.create(step=copy, **fields))


def purge_trials(now: dt.datetime) -> int:
    """Delete a batch of hidden workflows whose runs are gone; return how many."""
    before = now - dt.timedelta(days=RETENTION_DAYS)
    old = Workflow.with_trials.filter(is_trial=True, created_at__lt=before, runs=None)
    found = list(old.values_list("pk", flat=True)[:BATCH])
    Workflow.with_trials.filter(pk__in=found).delete()
    return len(found)
