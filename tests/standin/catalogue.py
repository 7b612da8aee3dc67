"""Catalogue entries for foreign containers: `manage.py shell -c` in the environment of web."""

from collections.abc import Mapping

from django.forms.models import model_to_dict

from validibot.workflows.models import Step, StepFile, Validator, Workflow


def create_workflows(slugs: Mapping[str, tuple[str, int]]) -> None:
    """Create a validator and a workflow with it as the only step, for each job.

    Values are the slug of the seeded workflow that is the template, and the time limit in seconds.
    """
    for slug, (seed, seconds) in slugs.items():
        like = Step.objects.select_related("validator", "workflow").get(workflow__slug=seed)
        _workflow(slug, like, _validator(slug, like.validator, seconds))


def _validator(slug: str, like: Validator, seconds: int) -> Validator:
    values = model_to_dict(like, exclude=["id"])
    own = {"slug": slug, "title": slug, "job": slug, "timeout_seconds": seconds}
    return Validator.objects.create(**values | own)


def _workflow(slug: str, like: Step, validator: Validator) -> None:
    workflow = Workflow.objects.create(
        organisation_id=like.workflow.organisation_id,
        project_id=like.workflow.project_id,
        author_id=like.workflow.author_id,
        slug=slug,
        name=slug,
    )
    step = Step.objects.create(
        workflow=workflow,
        order=1,
        name=slug,
        validator=validator,
        config=like.config,
        weather=like.weather,
    )
    for file in like.files.all():
        StepFile.objects.create(
            **model_to_dict(file, exclude=["id", "step"]) | {"step_id": step.pk}
        )
