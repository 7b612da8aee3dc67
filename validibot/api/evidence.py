"""The receipt of a run that has ended, in the published form of `validibot-shared`."""

from typing import Any

from validibot_shared.evidence.manifest import (
    EvidenceManifest,
    WorkflowReceipt,
    WorkflowStepReceipt,
)

from validibot.runs.models import Run, StepRun, with_images


def manifest_of(run: Run) -> dict[str, Any]:
    """Return what is attested of a run that has ended."""
    assert run.ended_at is not None
    manifest = EvidenceManifest(
        run_id=str(run.pk),
        completed_at=run.ended_at.isoformat(),
        status=run.status,
        workflow=WorkflowReceipt(
            slug=run.workflow.slug,
            version=str(run.workflow.version),
            steps=[_step(step_run) for step_run in with_images(run.steps.all())],
        ),
        input_sha256=run.submission.sha256,
    )
    return manifest.model_dump(mode="json", by_alias=True, exclude_none=True)


def _step(step_run: StepRun) -> WorkflowStepReceipt:
    digest: str = getattr(step_run, "image_digest", "")  # annotated
    return WorkflowStepReceipt(
        key=str(step_run.order),
        status=step_run.status,
        validator=step_run.validator,
        validator_version=step_run.validator_version,
        backend_image_digest=digest or None,
    )
