"""The job of a custom validator: a task has the provider make it, and notes what came of it."""

import re
from functools import partial

from django.conf import settings
from django.db import transaction
from django.tasks import task

from validibot.runs.backends import get_backend
from validibot.runs.backends.base import JobDefinition, JobRefused
from validibot.workflows.models import JobState, Validator


def may_register() -> bool:
    """Return whether organisations may register validators of their own on this site."""
    return bool(settings.CUSTOM_VALIDATORS) and get_backend().runs_images


def request_preparation(validator: Validator) -> None:
    """Have the job of a validator made after the commit, unless it is ready."""
    waiting = Validator.objects.filter(pk=validator.pk).exclude(job_state=JobState.READY)
    if waiting.update(job_state=JobState.PENDING, job_error=""):
        transaction.on_commit(partial(_enqueue, validator.pk), robust=True)


def _enqueue(validator_id: int) -> None:
    prepare_validator.enqueue(validator_id)


@task
def prepare_validator(validator_id: int) -> None:
    """Make the job of a custom validator; a repetition changes nothing.

    Raises StateUnavailable, after which the queue delivers the task again.
    """
    pending = Validator.objects.filter(pk=validator_id, job_state=JobState.PENDING)
    validator = pending.select_related("organisation").first()
    if validator is None or validator.organisation is None:
        return
    job = JobDefinition(
        name=validator.job,
        image=validator.image,
        version=validator.version,
        timeout_seconds=validator.timeout_seconds,
        memory_mb=validator.memory_mb,
        labels={
            "validator": validator.slug[:63],
            # Values of labels have no dots: https://cloud.google.com/run/docs/configuring/jobs/labels
            "version": re.sub("[^a-z0-9_-]", "-", validator.version.lower())[:63],
            "organisation": str(validator.organisation.pk),
        },
    )
    try:
        get_backend().prepare(job)
    except JobRefused as refused:
        pending.update(job_state=JobState.REFUSED, job_error=str(refused)[:2000])
    else:
        pending.update(job_state=JobState.READY)
