"""The documents of runs, and how their rows are loaded.

Clients read a run again and again until it has ended, so its document is read by one statement
(`load_document`). Right after the run was started it is made from memory (`LaunchDocument.of_new`).
"""

import datetime as dt
import json
from typing import Any, Literal, Self
from uuid import UUID

from django.db import connection
from pydantic import BaseModel, Field, JsonValue

from validibot.accounts.scope import Scope
from validibot.api.documents import ListPage
from validibot.runs.models import Finding, Run, named_outputs
from validibot.runs.rules import LEFT_OUT
from validibot.submissions.models import Submission
from validibot.workflows.models import Workflow

# The document of a run lists so many findings of each step, the worst ones.
MAX_ISSUES = 1000

type RunState = Literal["PENDING", "RUNNING", "COMPLETED"]
type RunResult = Literal["PASS", "FAIL", "ERROR", "CANCELED", "TIMED_OUT", "UNKNOWN"]


class FindingDocument(BaseModel):
    """A finding; `line` and `column` count from 1."""

    id: int
    message: str
    path: str
    severity: Literal["ERROR", "WARNING", "INFO"]
    code: str
    line: int | None
    column: int | None
    assertion_id: int | None


class RunFindingDocument(FindingDocument):
    """A finding of a run; `step` is the order of its step."""

    step: int

    @classmethod
    def of(cls, finding: Finding) -> Self:
        names = FindingDocument.model_fields
        fields = {name: getattr(finding, name) for name in names}
        return cls(step=finding.step_run.order, **fields)


class OutputDocument(BaseModel):
    """A named output of a step."""

    slug: str
    label: str
    value: JsonValue
    units: str


class ArtifactDocument(BaseModel):
    """A file to download at `url`, a path on this server."""

    id: int
    name: str
    type: str
    mime_type: str
    size_bytes: int
    sha256: str
    url: str


class StepRunDocument(BaseModel):
    """A step of a run.

    `image` is the container image that the step asked for; `image_digest` identifies the image that
    was executed, where the provider reports it. `weather` is the catalogue entry that was chosen.
    `issues` lists the worst findings, at most 1,000; `finding_count` is the number of all, which the
    run's `findings/` lists. `taken_over_from` is the run that executed the step, if this run is its retry.
    """

    step_id: int | None
    order: int
    name: str
    status: str
    error: str = ""
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    issues: list[FindingDocument] = []
    finding_count: int = 0
    output_values: list[OutputDocument] = []
    artifacts: list[ArtifactDocument] = []
    image: str = ""
    image_digest: str = ""
    weather: str = ""
    taken_over_from: UUID | None = None


class FurtherFileDocument(BaseModel):
    """A file that was sent beside the submission."""

    filename: str
    size_bytes: int
    sha256: str


class RunSummary(BaseModel):
    """A run, as lists show it. Clients decide by `state` and `result`."""

    id: UUID
    status: str
    state: RunState
    result: RunResult
    source: str
    error_category: str
    error: str
    user_friendly_error: str
    org: str
    user: int | None
    workflow: int
    workflow_slug: str
    workflow_version: int
    submission: UUID
    name: str
    filename: str
    metadata: dict[str, str]
    short_description: str
    created_at: dt.datetime
    started_at: dt.datetime | None
    ended_at: dt.datetime | None
    duration_ms: int
    retry_of: UUID | None = Field(description="The run whose failed step this run executes again.")
    url: str = Field(description="The path of this run on this server.")

    @classmethod
    def of(cls, run: Run, org: str, **more: Any) -> Self:
        submission, workflow = run.submission, run.workflow
        return cls(
            id=run.pk,
            status=run.status,
            state=run.state,  # type: ignore[arg-type]  # checked when it is built
            result=run.result,  # type: ignore[arg-type]
            source=run.source,
            error_category=run.error_category,
            error=run.error,
            user_friendly_error=run.error,
            org=org,
            user=run.user_id,
            workflow=workflow.pk,
            workflow_slug=workflow.slug,
            workflow_version=workflow.version,
            submission=submission.pk,
            name=submission.name,
            filename=submission.filename,
            metadata=submission.metadata,
            short_description=submission.short_description,
            created_at=run.created_at,
            started_at=run.started_at,
            ended_at=run.ended_at,
            duration_ms=run.duration_ms,
            retry_of=run.retry_of_id,
            url=url_of_run(org, run.pk),
            **more,
        )


class RunDocument(RunSummary):
    """A run with its steps and their findings."""

    steps: list[StepRunDocument]
    further_files: list[FurtherFileDocument] = []


class LaunchDocument(RunDocument):
    """A run that has not ended, as the answer of its launch."""

    poll: str = Field(description="The path to ask until the run has ended; the same as `url`.")

    @classmethod
    def of_new(cls, run: Run, org: str) -> Self:
        """Return the document of a run that was just started, from what is in memory."""
        steps = [
            StepRunDocument(
                step_id=step_run.step_id,
                order=step_run.order,
                name=step_run.name,
                status=step_run.status,
                weather=step_run.weather_name,
                taken_over_from=step_run.taken_over and step_run.taken_over["run"],
            )
            for step_run in run.started_steps or []
        ]
        files = [
            FurtherFileDocument(
                filename=file.filename, size_bytes=file.size_bytes, sha256=file.sha256
            )
            for file in run.submission.further_files
        ]
        return cls.of(run, org, steps=steps, further_files=files, poll=url_of_run(org, run.pk))

    @classmethod
    def of_running(cls, document: RunDocument) -> Self:
        return cls.model_construct(**dict(document), poll=document.url)


class RunPage(ListPage[RunSummary]):
    """A page of runs."""


class FindingPage(ListPage[RunFindingDocument]):
    """A page of findings."""


class ExportDocument(BaseModel):
    """An export that is being made; `url` answers with the file when it is there."""

    kind: str
    state: Literal["PENDING"]
    url: str


class EvidenceContents(BaseModel):
    """The contents of a run's evidence; `sha256` is the digest of `contents`."""

    sha256: str
    manifest_sha256: str
    contents: JsonValue


def url_of_run(org: str, pk: UUID) -> str:
    """Return the path of a run in this API."""
    return f"/api/v1/orgs/{org}/runs/{pk}/"


def load_document(scope: Scope, pk: UUID) -> RunDocument | None:
    """Return the document of run `pk`, or None if there is none that the user may see."""
    only_user = None if scope.can("run.view_all") else scope.user.pk
    names: dict[str, Any] = {
        "run": pk,
        "organisation": scope.organisation.pk,
        "only_user": only_user,
        "max_issues": MAX_ISSUES,
    }
    with connection.cursor() as cursor:
        cursor.execute(_LOAD, names)
        row = cursor.fetchone()
    if row is None:
        return None
    fields = dict(zip(_COLUMNS, row, strict=True))
    if not scope.can_see(fields["workflow_slug"]):
        return None
    steps, further_files = fields.pop("steps") or [], fields.pop("further_files") or []
    workflow = {name: fields.pop(f"workflow_{name}") for name in ("slug", "version")}
    submission = {name: fields.pop(name) for name in ("name", "filename", "short_description")}
    metadata = json.loads(fields.pop("metadata"))
    run = Run(**fields)
    run.workflow = Workflow(pk=fields["workflow_id"], **workflow)
    run.submission = Submission(pk=fields["submission_id"], metadata=metadata, **submission)
    org = scope.organisation.slug
    url = url_of_run(org, pk)
    documents = [_step_document(step, url) for step in steps]
    return RunDocument.of(run, org, steps=documents, further_files=further_files)


def _step_document(fields: dict[str, Any], run_url: str) -> StepRunDocument:
    """Return the document of a step whose columns were read as JSON."""
    outputs, catalogue = fields.pop("outputs"), fields.pop("catalogue")
    artifacts = [
        each | {"url": f"{run_url}artifacts/{each['id']}/"} for each in fields.pop("artifacts")
    ]
    values = named_outputs(outputs, catalogue) if outputs else []
    issues = fields.pop("issues")
    count = fields.pop("finding_count") or len(issues)
    if count > len(issues):
        issues.append(_note_of_more(count, listed=len(issues), url=run_url))
    return StepRunDocument(
        **fields,
        issues=issues,
        finding_count=count,
        artifacts=artifacts,
        output_values=[
            OutputDocument(slug=each.slug, label=each.label, value=each.value, units=each.unit)
            for each in values
        ],
    )


def _note_of_more(count: int, *, listed: int, url: str) -> FindingDocument:
    """Return the entry that tells readers of `issues` where the other findings are."""
    return FindingDocument(
        id=0,
        message=f"The {listed:,} worst of {count:,} findings are listed. All are at {url}findings/.",
        path="",
        severity="INFO",
        code=LEFT_OUT,
        line=None,
        column=None,
        assertion_id=None,
    )


# One statement instead of four of the ORM, which spends three quarters of a poll on writing them.
# The conditions on user and workflow are those of `runs.access.visible_runs`.
_COLUMNS = (
    *("id", "status", "source", "error_category", "error", "user_id", "created_at", "started_at"),
    *(
        "ended_at",
        "retry_of_id",
        "workflow_id",
        "workflow_slug",
        "workflow_version",
        "submission_id",
        "name",
    ),
    *("filename", "metadata", "short_description", "further_files", "steps"),
)
_LOAD = """
SELECT run.id, run.status, run.source, run.error_category, run.error, run.user_id, run.created_at,
    run.started_at, run.ended_at, run.retry_of_id, workflow.id, workflow.slug, workflow.version, submission.id,
    submission.name, submission.filename, submission.metadata, submission.short_description,
    CASE WHEN submission.further_file_count > 0 THEN (
        SELECT json_agg(json_build_object(
            'filename', file.filename, 'size_bytes', file.size_bytes, 'sha256', file.sha256)
            ORDER BY file."order")
        FROM submissions_submissionfile file WHERE file.submission_id = submission.id) END,
    (SELECT json_agg(json_build_object(
        'step_id', step_run.step_id, 'order', step_run."order", 'name', step_run.name,
        'status', step_run.status, 'error', step_run.error, 'started_at', step_run.started_at,
        'ended_at', step_run.ended_at, 'image', step_run.image,
        'outputs', step_run.outputs, 'weather', coalesce(step_run.weather->>'name', ''),
        'taken_over_from', step_run.taken_over->>'run',
        'catalogue', (
            SELECT validator.outputs FROM workflows_validator validator
            JOIN workflows_step step ON step.validator_id = validator.id
            WHERE step.id = step_run.step_id),
        'image_digest', coalesce((
            SELECT attempt.image_digest FROM runs_attempt attempt
            WHERE attempt.step_run_id = step_run.id ORDER BY attempt.number DESC LIMIT 1),
            step_run.taken_over->>'image_digest', ''),
        'issues', coalesce((
            SELECT json_agg(json_build_object(
                'id', finding.id, 'message', finding.message, 'path', finding.path,
                'severity', finding.severity, 'code', finding.code, 'line', finding.line,
                'column', finding."column", 'assertion_id', finding.assertion_id)
                ORDER BY finding."order")
            FROM (
                SELECT * FROM runs_finding WHERE step_run_id = step_run.id
                ORDER BY array_position(ARRAY['ERROR', 'WARNING', 'INFO'], severity::text), "order"
                LIMIT %(max_issues)s) finding), '[]'),
        'finding_count', (
            SELECT sum((rule->>'count')::int) FROM jsonb_array_elements(step_run.rules) rule),
        'artifacts', coalesce((
            SELECT json_agg(json_build_object(
                'id', artifact.id, 'name', artifact.name, 'type', artifact.type,
                'mime_type', artifact.mime_type, 'size_bytes', artifact.size_bytes,
                'sha256', artifact.sha256)
                ORDER BY artifact.name)
            FROM runs_artifact artifact WHERE artifact.step_run_id = step_run.id), '[]'))
        ORDER BY step_run."order")
    FROM runs_steprun step_run WHERE step_run.run_id = run.id)
FROM runs_run run
JOIN workflows_workflow workflow ON workflow.id = run.workflow_id
JOIN submissions_submission submission ON submission.id = run.submission_id
WHERE run.id = %(run)s AND run.organisation_id = %(organisation)s
    AND (%(only_user)s::bigint IS NULL OR run.user_id = %(only_user)s)
"""
