"""The documents of runs, and how their rows are loaded.

A run's document costs three queries (`load_run`) or, right after the run was started, none
(`LaunchDocument.of_new`).
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any, Literal, Self
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from pydantic import BaseModel, Field, JsonValue

from validibot.api.documents import ListPage
from validibot.runs.models import Artifact, Finding, Run, RunEvent, StepRun, with_images

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

    @classmethod
    def of(cls, finding: Finding) -> Self:
        return cls(
            id=finding.pk,
            message=finding.message,
            path=finding.path,
            severity=finding.severity,  # type: ignore[arg-type]  # checked when it is built
            code=finding.code,
            line=finding.line,
            column=finding.column,
            assertion_id=finding.assertion_id,
        )


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

    @classmethod
    def of(cls, artifact: Artifact, run_url: str) -> Self:
        return cls(
            id=artifact.pk,
            name=artifact.name,
            type=artifact.type,
            mime_type=artifact.mime_type,
            size_bytes=artifact.size_bytes,
            sha256=artifact.sha256,
            url=f"{run_url}artifacts/{artifact.pk}/",
        )


class StepRunDocument(BaseModel):
    """A step of a run.

    `image` is the container image that the step asked for; `image_digest` identifies the image that
    was executed, where the provider reports it.
    """

    step_id: int | None
    order: int
    name: str
    status: str
    error: str = ""
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    issues: list[FindingDocument] = []
    output_values: list[OutputDocument] = []
    artifacts: list[ArtifactDocument] = []
    image: str = ""
    image_digest: str = ""

    @classmethod
    def of(cls, step_run: StepRun, run_url: str) -> Self:
        return cls(
            step_id=step_run.step_id,
            order=step_run.order,
            name=step_run.name,
            status=step_run.status,
            error=step_run.error,
            started_at=step_run.started_at,
            ended_at=step_run.ended_at,
            issues=[FindingDocument.of(each) for each in step_run.findings.all()],
            output_values=[
                OutputDocument(slug=each.slug, label=each.label, value=each.value, units=each.unit)
                for each in step_run.output_values()
            ],
            artifacts=[ArtifactDocument.of(each, run_url) for each in step_run.artifacts.all()],
            image=step_run.image,
            image_digest=step_run.image_digest,  # type: ignore[attr-defined]
        )


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
            url=url_of_run(org, run.pk),
            **more,
        )


class RunDocument(RunSummary):
    """A run with its steps and their findings."""

    steps: list[StepRunDocument]

    @classmethod
    def of_steps(cls, run: Run, steps: Iterable[StepRun], org: str) -> Self:
        """Return the document of a run whose rows were loaded by `load_run`."""
        url = url_of_run(org, run.pk)
        return cls.of(run, org, steps=[StepRunDocument.of(each, url) for each in steps])


class LaunchDocument(RunDocument):
    """A run that has not ended, as the answer of its launch."""

    poll: str = Field(description="The path to ask until the run has ended; the same as `url`.")

    @classmethod
    def of_new(cls, run: Run, org: str) -> Self:
        """Return the document of a run that was just started, from what is in memory."""
        steps = [
            StepRunDocument(step_id=step.pk, order=step.order, name=step.name, status="PENDING")
            for step in run.workflow.steps.all()
        ]
        return cls.of(run, org, steps=steps, poll=url_of_run(org, run.pk))

    @classmethod
    def of_running(cls, document: RunDocument) -> Self:
        return cls.model_construct(**dict(document), poll=document.url)


class EventDocument(BaseModel):
    """An event of a run; `step` is the order of the step that it is about."""

    id: int
    at: dt.datetime
    kind: str
    step: int | None
    actor: str
    message: str
    data: JsonValue

    @classmethod
    def of(cls, event: RunEvent) -> Self:
        return cls(
            id=event.pk,
            at=event.at,
            kind=event.kind,
            step=event.step_run.order if event.step_run else None,
            actor=event.actor,
            message=event.message,
            data=event.data,
        )


class RunPage(ListPage[RunSummary]):
    """A page of runs."""


class EventPage(ListPage[EventDocument]):
    """A page of events."""


def url_of_run(org: str, pk: UUID) -> str:
    """Return the path of a run in this API."""
    return f"/api/v1/orgs/{org}/runs/{pk}/"


def load_run(runs: QuerySet[Run], pk: UUID) -> tuple[Run, list[StepRun]] | None:
    """Return the run `pk` among `runs` with its steps, or None, in three queries."""
    steps = (
        with_images(StepRun.objects.filter(run__in=runs.filter(pk=pk)))
        .select_related("run__workflow", "run__submission", "step__validator")
        .defer("run__submission__inline")
        .prefetch_related(
            Prefetch("findings", Finding.objects.order_by("order")),
            Prefetch("artifacts", Artifact.objects.order_by("name")),
        )
        .order_by("order")
    )
    found = list(steps)
    return (found[0].run, found) if found else None
