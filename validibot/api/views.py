"""The views of the public API: they translate HTTP and hold no rules of the product."""

from uuid import UUID

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from validibot.accounts.scope import Scope, organisations_of
from validibot.api import documents, event_documents, run_documents, schema
from validibot.api.access import find_run, no_run, refused, scope_in, user_of, workflow_of
from validibot.api.base import ApiView, operation
from validibot.api.documents import respond
from validibot.api.launch import launch, relaunch, relaunch_from_failed_step
from validibot.api.lists import (
    PathCursorPagination,
    choice,
    filter_findings,
    filter_weather,
    query_number,
)
from validibot.api.run_lists import answer_with_runs
from validibot.api.submissions import download
from validibot.core import maintenance
from validibot.core.downloads import attachment, streamed, whole
from validibot.core.echo import echo
from validibot.core.problems import ApiError
from validibot.runs.access import may_cancel
from validibot.runs.evidence import evidence_of
from validibot.runs.export_files import (
    BUNDLE,
    KINDS,
    RETRY_AFTER,
    ExportRefused,
    open_export,
    request_export,
)
from validibot.runs.exports import FORMATS
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import ExportState, Run, RunEvidence
from validibot.workflows.models import WeatherFile
from validibot.workflows.versions import newest

EXPORT_RETRY_SECONDS = 2
_EXPORTS = [*FORMATS, BUNDLE]


class MeView(ApiView):
    """The user who makes the request."""

    @operation(responses=schema.read(documents.UserDocument))
    def get(self, request: Request) -> HttpResponse:
        return documents.respond(documents.UserDocument.of(user_of(request)))


class OrganisationsView(ApiView):
    """The organisations of the user, as member or guest."""

    @operation(
        operation_id="list_organisations",
        parameters=schema.PAGE,
        responses=schema.read(documents.OrganisationPage),
    )
    def get(self, request: Request) -> HttpResponse:
        pages = PathCursorPagination(organisations_of(user_of(request)), "name")
        return pages.answer(request, documents.OrganisationDocument.of, documents.OrganisationPage)


class OrganisationView(ApiView):
    """One organisation."""

    @operation(
        operation_id="get_organisation", responses=schema.read(documents.OrganisationDocument)
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        organisation = scope_in(request, org).organisation
        return documents.respond(documents.OrganisationDocument.of(organisation))


class WeatherView(ApiView):
    """The weather that the organisation's runs may name, by name."""

    @operation(
        operation_id="list_weather",
        parameters=[schema.WEATHER_TEXT, *schema.PAGE],
        responses=schema.read(documents.WeatherPage),
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        scope_in(request, org, "workflow.view")
        weather = filter_weather(WeatherFile.objects.all(), request.query_params)
        pages = PathCursorPagination(weather, "name")
        return pages.answer(request, documents.WeatherDocument.of, documents.WeatherPage)


class WorkflowRunsView(ApiView):
    """Start a run of a workflow."""

    @operation(
        parameters=schema.LAUNCH,
        request={
            "application/octet-stream": OpenApiTypes.BINARY,
            "multipart/form-data": schema.LaunchForm,
            "application/json": schema.LaunchEnvelope,
        },
        responses=schema.answers(run_documents.LaunchDocument, 402, 409, 413, 415, 422, status=202)
        | {(201, schema.JSON): run_documents.RunDocument},
    )
    def post(self, request: Request, org: str, workflow: str, version: int = 0) -> HttpResponse:
        scope = scope_in(request, org, "workflow.view")
        return launch(request, scope, workflow_of(request, scope, workflow, version))


class RunsView(ApiView):
    """The runs of an organisation, newest first."""

    @operation(
        operation_id="list_runs",
        parameters=[*schema.RUN_FILTERS, *schema.PAGE],
        responses=schema.read(run_documents.RunPage),
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        scope = scope_in(request, org, "run.view_own")
        return answer_with_runs(request, scope)


class RunView(ApiView):
    """One run with its steps and findings. Never throttled: clients poll it."""

    counts_requests = False

    @operation(operation_id="get_run", responses=schema.read(run_documents.RunDocument))
    def get(self, request: Request, org: str, run: UUID) -> HttpResponse:
        scope = scope_in(request, org, "run.view_own")
        return documents.respond(_document(scope, run))


class RunEvidenceView(ApiView):
    """The evidence of a run that has ended, in the published format.

    `ETag` is the SHA-256 of the canonical manifest (RFC 8785).
    """

    @operation(operation_id="get_evidence", responses=schema.answers(OpenApiTypes.OBJECT, 409))
    def get(self, request: Request, org: str, run: UUID) -> Response:
        evidence = _evidence(find_run(scope_in(request, org, "run.view_own"), run))
        return Response(evidence.manifest, headers={"ETag": f'"{evidence.manifest_sha256}"'})


class RunEvidenceContentsView(ApiView):
    """The contents of a run's evidence, with digests of configurations, outputs and findings."""

    @operation(
        operation_id="get_evidence_contents",
        responses=schema.read(run_documents.EvidenceContents, 409),
    )
    def get(self, request: Request, org: str, run: UUID) -> HttpResponse:
        evidence = _evidence(find_run(scope_in(request, org, "run.view_own"), run))
        return documents.respond(
            run_documents.EvidenceContents(
                sha256=evidence.contents_sha256,
                manifest_sha256=evidence.manifest_sha256,
                contents=evidence.contents,
            )
        )


class RunEventsView(ApiView):
    """The events of a run, oldest first."""

    counts_requests = False

    @operation(
        operation_id="list_events",
        parameters=[schema.AFTER_EVENT, *schema.PAGE],
        responses=schema.read(event_documents.EventPage),
    )
    def get(self, request: Request, org: str, run: UUID) -> HttpResponse:
        found = find_run(scope_in(request, org, "run.view_own"), run)
        after = query_number(request, "after", maximum=schema.MAX_EVENT) or 0
        events = found.events.filter(pk__gt=after).select_related("step_run")
        pages = PathCursorPagination(events, "id")
        return pages.answer(request, event_documents.EventDocument.of, event_documents.EventPage)


class RunProgressView(ApiView):
    """Why a run has not ended, from its rows and events."""

    counts_requests = False

    @operation(operation_id="get_progress", responses=schema.read(event_documents.ProgressDocument))
    def get(self, request: Request, org: str, run: UUID) -> HttpResponse:
        found = find_run(scope_in(request, org, "run.view_own"), run)
        return documents.respond(event_documents.ProgressDocument.of(found))


class RunCancelView(ApiView):
    """Cancel a run that has not ended."""

    @operation(
        operation_id="cancel_run",
        request=None,
        responses=schema.answers(run_documents.RunDocument, 409),
    )
    def post(self, request: Request, org: str, run: UUID) -> HttpResponse:
        scope = scope_in(request, org, "run.view_own")
        found = find_run(scope, run)
        if not may_cancel(scope, found):
            raise refused(scope, "run.cancel_own" if found.user == scope.user else "run.cancel_all")
        if not cancel_run(found.pk, actor=scope.user.email):
            raise ApiError(409, "RUN_FINISHED", f"Run {run} has ended and cannot be cancelled.")
        return documents.respond(_document(scope, run))


class RunRerunView(ApiView):
    """Start a run on the submission of a run, with the same or the newest version."""

    @operation(
        operation_id="rerun_run",
        parameters=[schema.RERUN_VERSION, schema.IDEMPOTENCY],
        request=None,
        responses=schema.answers(run_documents.LaunchDocument, 402, 409, 410, 422, status=202)
        | {(201, schema.JSON): run_documents.RunDocument},
    )
    def post(self, request: Request, org: str, run: UUID) -> HttpResponse:
        scope = scope_in(request, org, "run.view_own")
        found = find_run(scope, run)
        wanted = choice(request, "version", ["same", "newest"])
        workflow = newest(found.workflow) if wanted == "newest" else found.workflow
        return relaunch(request, scope, found, workflow)


class RunRetryView(ApiView):
    """Go on with a run that ended as ERROR or TIMED_OUT: a new run from its failed step.

    It takes over the results of the steps before. Repeated requests get the same run.
    """

    @operation(
        operation_id="retry_run",
        parameters=[schema.IDEMPOTENCY],
        request=None,
        responses=schema.answers(run_documents.LaunchDocument, 402, 409, 410, 422, status=202)
        | {(201, schema.JSON): run_documents.RunDocument},
    )
    def post(self, request: Request, org: str, run: UUID) -> HttpResponse:
        scope = scope_in(request, org, "run.view_own")
        return relaunch_from_failed_step(request, scope, find_run(scope, run))


class RunFindingsView(ApiView):
    """The findings of a run in order: all of them, however many there are."""

    @operation(
        operation_id="list_findings",
        parameters=[*schema.FINDING_FILTERS, *schema.PAGE],
        responses=schema.read(run_documents.FindingPage),
    )
    def get(self, request: Request, org: str, run: UUID) -> HttpResponse:
        findings = find_run(scope_in(request, org, "run.view_own"), run).findings.select_related(
            "step_run"
        )
        pages = PathCursorPagination(filter_findings(findings, request), "id")
        return pages.answer(request, run_documents.RunFindingDocument.of, run_documents.FindingPage)


class RunExportView(ApiView):
    """A run as a report, its findings for other programs, or everything as an evidence bundle.

    Reports and the bundle are made by a task, once: while there is no file the answer is 202, and the
    same request is to be sent again.
    """

    @operation(
        operation_id="export_findings",
        parameters=[OpenApiParameter("kind", str, OpenApiParameter.PATH, enum=_EXPORTS)],
        responses=schema.answers(OpenApiTypes.BINARY, 409, media_type="application/octet-stream")
        | {(202, schema.JSON): run_documents.ExportDocument},
    )
    def get(self, request: Request, org: str, run: UUID, kind: str) -> HttpResponseBase:
        found = find_run(scope_in(request, org, "run.view_own"), run)
        if kind in KINDS:
            _require_end(found)
            return _made_by_task(request, found, kind)
        if kind not in FORMATS:
            known = ", ".join(_EXPORTS)
            raise ApiError(
                404, "NOT_FOUND", f"There is no export {echo(kind)}; there are: {known}."
            )
        document = FORMATS[kind].write(found)
        return whole(document, name=f"run-{run}.{FORMATS[kind].extension}")


class SubmittedFileView(ApiView):
    """Download the submitted file (0), or one of those that were sent beside it (from 1)."""

    @operation(
        operation_id="download_submitted_file",
        responses=schema.answers(OpenApiTypes.BINARY, 410, media_type="application/octet-stream"),
    )
    def get(self, request: Request, org: str, run: UUID, order: int) -> StreamingHttpResponse:
        return download(find_run(scope_in(request, org, "run.view_own"), run).submission, order)


class ArtifactView(ApiView):
    """Download an artifact of a run."""

    @operation(
        operation_id="download_artifact",
        responses=schema.answers(OpenApiTypes.BINARY, media_type="application/octet-stream"),
    )
    def get(self, request: Request, org: str, run: UUID, artifact: int) -> StreamingHttpResponse:
        found = (
            find_run(scope_in(request, org, "run.view_own"), run)
            .artifacts.filter(pk=artifact)
            .first()
        )
        if found is None:
            raise ApiError(404, "NOT_FOUND", f"Run {run} has no artifact {artifact}.")
        return attachment(
            found.uri, version=found.storage_version, name=found.name, size=found.size_bytes
        )


def _document(scope: Scope, pk: UUID) -> run_documents.RunDocument:
    document = run_documents.load_document(scope, pk)
    if document is None:
        raise no_run(pk)
    return document


def _made_by_task(request: Request, run: Run, kind: str) -> HttpResponseBase:
    try:
        made = request_export(run, kind)
    except ExportRefused as error:
        later = {"Retry-After": str(maintenance.RETRY_SECONDS)}
        raise ApiError(503, "MAINTENANCE", str(error), headers=later) from error
    if chunks := open_export(made):
        name = f"run-{run.pk}.{KINDS[kind].extension}"
        return streamed(chunks, name=name, size=made.size_bytes)
    if made.state == ExportState.FAILED:
        text = (
            "The file could not be made; the operators of this site find the reason in their log."
        )
        later = {"Retry-After": str(RETRY_AFTER.seconds)}
        raise ApiError(503, "EXPORT_FAILED", f"{text} Send the request again later.", headers=later)
    headers = {"Location": request.path, "Retry-After": str(EXPORT_RETRY_SECONDS)}
    document = run_documents.ExportDocument(kind=kind, state="PENDING", url=request.path)
    return respond(document, status=202, headers=headers)


def _evidence(run: Run) -> RunEvidence:
    _require_end(run)
    return evidence_of(run)


def _require_end(run: Run) -> None:
    if run.ended_at is None:
        raise ApiError(409, "RUN_NOT_FINISHED", f"Run {run.pk} has not ended; ask again later.")
