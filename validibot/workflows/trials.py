"""Trials of a step by a real run: a hidden workflow with that step alone.

The step is copied as it stands in the editor, saved or not, so a trial neither freezes a version nor
changes one. Hidden workflows are in no list; the purge removes them with their runs after a day.
"""

import datetime as dt
import uuid
from collections.abc import Mapping

from validibot.accounts.models import User
from validibot.workflows.fmu import copy_description
from validibot.workflows.models import Step, StepFile, Workflow

RETENTION_DAYS = 1
# Hidden workflows that one pass of the purge deletes at a time.
BATCH = 500
_FILE_FIELDS = ("port_key", "name", "type", "uri", "storage_version", "size_bytes", "sha256")


def begin(workflow: Workflow, *, author: User, inputs: Mapping[str, str]) -> Workflow:
    """Create the hidden workflow of a trial, without its step.

    A trial without `inputs` checks none: a file that is chosen in the editor has none.
    """
    return Workflow.with_trials.create(
        organisation=workflow.organisation,
        project=workflow.project,
        author=author,
        slug=f"trial-{uuid.uuid4().hex}",
        name=workflow.name,
        is_trial=True,
        constants=workflow.constants,
        input_schema=workflow.input_schema if inputs else "",
        input_retention_days=RETENTION_DAYS,
        result_retention_days=RETENTION_DAYS,
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
