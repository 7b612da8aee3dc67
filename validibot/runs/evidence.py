"""Evidence of runs: a record of what a run was given, did and found.

It is written once, in the transaction that ends the run, and only read afterwards. The manifest has
the format that `validibot-shared` publishes. The contents list more: the submission, each step with
its validator, version, configuration and image, and digests of outputs, findings and artifacts.
The same digests can be computed from the rows and files; a difference means that something was
changed after the run.

A digest is the SHA-256 of JSON with sorted keys, without spaces, in UTF-8. The manifest alone uses
the canonical JSON of RFC 8785, as its format demands.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import F, OuterRef, QuerySet
from django.db.models.functions import JSONObject

from validibot.runs.models import (
    Artifact,
    Finding,
    Run,
    RunEvidence,
    StepRun,
    digest_of,
    with_images,
)
from validibot.submissions.models import Submission

if TYPE_CHECKING:
    from validibot_shared.evidence.manifest import EvidenceManifest

_FINDING_FIELDS = ("severity", "code", "message", "path", "line", "column")
_ARTIFACT_FIELDS = ("name", "size_bytes", "sha256")


def record_evidence(run: Run | UUID) -> None:
    """Write the evidence of a run that has ended; evidence that exists is left as it is.

    Call it in the transaction that ends the run, after everything else was written. A run whose
    steps were all remembered has to be as its row is now.
    """
    pk = run.pk if isinstance(run, Run) else run
    steps = getattr(run, "remembered_steps", None) or list(_steps(pk))
    if not steps:
        return
    # Imported late, as below: the published models take a sixth of the start of each process.
    from validibot_shared.canonicalization import sha256_hex_for_model  # noqa: PLC0415

    ended = steps[0].run
    manifest = _manifest(ended, steps)
    contents = _contents(ended, steps)
    row = RunEvidence(
        run=ended,
        manifest=manifest.model_dump(mode="json", by_alias=True, exclude_none=True),
        manifest_sha256=sha256_hex_for_model(manifest),
        contents=contents,
        contents_sha256=digest_of(contents),
    )
    RunEvidence.objects.bulk_create([row], ignore_conflicts=True)


def remember(step_run: StepRun, findings: Iterable[Finding], *, of: Sequence[StepRun]) -> None:
    """Keep the findings of a step that was closed just now, as `record_evidence` would read them.

    `of` are all steps of the run; once each is remembered its evidence is written from memory. Only
    for steps without outputs, artifacts and attempts: PostgreSQL may return a number in another
    form than it was given, and the digest has to be that of the row.
    """
    known: Any = step_run
    known.listed_findings = [
        {name: getattr(finding, name) for name in _FINDING_FIELDS} for finding in findings
    ]
    known.listed_artifacts = []
    if all(hasattr(each, "listed_findings") for each in of):
        known.run.remembered_steps = of


def evidence_of(run: Run) -> RunEvidence:
    """Return the evidence of a run that has ended.

    Runs that ended before evidence was recorded get theirs now, from what their steps kept.
    """
    found = RunEvidence.objects.filter(run=run).first()
    if found is None:
        record_evidence(run)
        found = RunEvidence.objects.get(run=run)
    return found


def _steps(run_id: UUID) -> "QuerySet[StepRun]":
    """Return the steps with the run, their findings and artifacts, in one query."""
    findings = Finding.objects.filter(step_run=OuterRef("pk")).order_by("order")
    artifacts = Artifact.objects.filter(step_run=OuterRef("pk")).order_by("name")
    return (
        with_images(StepRun.objects.filter(run_id=run_id))
        .select_related("run__workflow", "run__submission")
        .defer("run__submission__inline")
        .annotate(
            listed_findings=ArraySubquery(findings.values(row=_object(_FINDING_FIELDS))),
            listed_artifacts=ArraySubquery(artifacts.values(row=_object(_ARTIFACT_FIELDS))),
        )
        .order_by("order")
    )


def _object(fields: tuple[str, ...]) -> JSONObject:
    return JSONObject(**{name: F(name) for name in fields})


def _manifest(run: Run, steps: Sequence[StepRun]) -> "EvidenceManifest":
    from validibot_shared.evidence.manifest import (  # noqa: PLC0415
        EvidenceManifest,
        WorkflowReceipt,
        WorkflowStepReceipt,
    )

    assert run.ended_at is not None
    return EvidenceManifest(
        run_id=str(run.pk),
        completed_at=run.ended_at.isoformat(),
        status=run.status,
        workflow=WorkflowReceipt(
            slug=run.workflow.slug,
            version=str(run.workflow.version),
            steps=[
                WorkflowStepReceipt(
                    key=str(step_run.order),
                    status=step_run.status,
                    validator=step_run.validator or "unknown",
                    validator_version=step_run.validator_version or "unknown",
                    backend_image_digest=_image_digest(step_run) or None,
                )
                for step_run in steps
            ],
        ),
        input_sha256=run.submission.sha256,
    )


def _contents(run: Run, steps: Sequence[StepRun]) -> dict[str, Any]:
    assert run.ended_at is not None
    submission = run.submission
    return {
        "run_id": str(run.pk),
        "status": run.status,
        "result": run.result,
        "created_at": run.created_at.isoformat(),
        **({"retry_of": str(run.retry_of_id)} if run.retry_of_id else {}),
        "completed_at": run.ended_at.isoformat(),
        "workflow": {
            "slug": run.workflow.slug,
            "version": run.workflow.version,
            "name": run.workflow.name,
        },
        "submission": {
            "filename": submission.filename,
            "size_bytes": submission.size_bytes,
            "sha256": submission.sha256,
            **_further_files(submission),
        },
        "steps": [_step_contents(step_run) for step_run in steps],
    }


def _further_files(submission: Submission) -> dict[str, Any]:
    """Return the files that were sent beside the first; nothing for submissions without any."""
    fields = ("filename", "size_bytes", "sha256")
    listed = [{name: getattr(file, name) for name in fields} for file in submission.further_files]
    return {"further_files": listed} if listed else {}


def _step_contents(step_run: StepRun) -> dict[str, Any]:
    findings: list[Any] = step_run.listed_findings  # type: ignore[attr-defined]  # annotated
    artifacts: list[Any] = step_run.listed_artifacts  # type: ignore[attr-defined]
    return {
        "order": step_run.order,
        "name": step_run.name,
        "status": step_run.status,
        "validator": step_run.validator,
        "validator_version": step_run.validator_version,
        "config_sha256": step_run.config_digest,
        "image": step_run.image,
        "image_digest": _image_digest(step_run),
        # Of custom validators: the network, and of each secret which value, never the value itself.
        **(getattr(step_run, "access", None) or {}),
        "outputs_sha256": digest_of(step_run.outputs),
        "findings": {"count": len(findings), "sha256": digest_of({"findings": findings})},
        "artifacts": artifacts,
        **({"taken_over_from": step_run.taken_over_from} if step_run.taken_over else {}),
        **_weather(step_run),
    }


def _weather(step_run: StepRun) -> dict[str, Any]:
    """Return the weather that was chosen for a step; nothing for other steps."""
    if not step_run.weather:
        return {}
    files = [{name: file[name] for name in _ARTIFACT_FIELDS} for file in step_run.weather["files"]]
    return {"weather": {"name": step_run.weather["name"], "files": files}}


def _image_digest(step_run: StepRun) -> str:
    digest: str = getattr(step_run, "image_digest", "")  # annotated by with_images
    return digest
