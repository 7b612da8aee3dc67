"""The job of a custom validator: a task has the provider make it, and notes what came of it."""

import re
from functools import partial

from django.conf import settings
from django.db import transaction
from django.tasks import task

from validibot.runs.backends import get_backend
from validibot.runs.backends.base import JobDefinition, JobRefused
from validibot.runs.grants import refusals
from validibot.workflows.custom_validators import is_custom_job
from validibot.workflows.models import JobState, Validator
from validibot.workflows.validator_secrets import SecretSource, missing_secrets


def may_register() -> bool:
    """Return whether organisations may register validators of their own on this site."""
    return bool(settings.CUSTOM_VALIDATORS) and get_backend().runs_images


def request_preparation(validator: Validator) -> None:
    """Have the job of a validator made after the commit, unless it is ready or lacks a secret."""
    waiting = Validator.objects.filter(pk=validator.pk).exclude(
        job_state__in=[JobState.READY, JobState.INCOMPLETE]
    )
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
    backend, state = get_backend(), JobState.READY
    problem = " ".join(refusals(validator, backend))
    references, missing = _references(validator), missing_secrets(validator, backend.secret_source)
    if missing:
        state = JobState.INCOMPLETE
    elif problem:
        state = JobState.REFUSED
    else:
        try:
            backend.prepare(_job_of(validator, references))
        except JobRefused as refused:
            state, problem = JobState.REFUSED, str(refused)
    if not Validator.objects.filter(pk=validator_id).exists():
        # It was deleted meanwhile, perhaps before its job was made.
        backend.remove_job(validator.job)
        return
    with transaction.atomic():
        Validator.objects.select_for_update(of=("self",)).filter(pk=validator_id).first()
        now_missing = missing_secrets(validator, backend.secret_source)
        if (_references(validator), now_missing) == (references, missing):
            pending.update(job_state=state, job_error=problem[:2000])
            return
        # Secrets changed meanwhile. The job may have been made from the older ones last, after a task
        # that knew the newer.
        Validator.objects.filter(pk=validator_id).update(job_state=JobState.PENDING)
        transaction.on_commit(partial(_enqueue, validator_id), robust=True)


def remove_lost_jobs() -> int:
    """Delete the jobs of custom validators that there are no more; return how many.

    Raises StateUnavailable. A job that is just being made is not lost: its validator was there first.
    """
    if not settings.CUSTOM_VALIDATORS:
        return 0
    backend = get_backend()
    there = sorted(filter(is_custom_job, backend.job_names()))
    kept = set(Validator.objects.filter(job__in=there).values_list("job", flat=True))
    lost = [job for job in there if job not in kept]
    for job in lost:
        backend.remove_job(job)
    return len(lost)


def _references(validator: Validator) -> dict[str, str]:
    """Return the references of a validator's secrets by name, where the provider has the values."""
    if get_backend().secret_source is not SecretSource.SECRET_MANAGER:
        return {}
    rows = validator.secret_values.exclude(reference="")
    return dict(rows.values_list("name", "reference"))


def _job_of(validator: Validator, references: dict[str, str]) -> JobDefinition:
    return JobDefinition(
        name=validator.job,
        image=validator.image,
        version=validator.version,
        timeout_seconds=validator.timeout_seconds,
        memory_mb=validator.memory_mb,
        labels={
            "validator": validator.slug[:63],
            # Values of labels have no dots: https://cloud.google.com/run/docs/configuring/jobs/labels
            "version": re.sub("[^a-z0-9_-]", "-", validator.version.lower())[:63],
            "organisation": str(validator.organisation_id),
        },
        organisation=str(validator.organisation_id),
        network=validator.network_reach,
        secrets=references,
    )
