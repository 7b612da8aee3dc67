"""The public API: translate HTTP, hold no rules."""

from uuid import UUID

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from validibot.accounts.models import User
from validibot.accounts.permissions import organisations_of
from validibot.accounts.scope import NotAMember, Scope, scope_of
from validibot.api import filters, serializers
from validibot.api.documents import describe, with_details
from validibot.api.evidence import manifest_of
from validibot.api.launch import launch
from validibot.api.pagination import ByNamePagination, PathCursorPagination
from validibot.core.downloads import attachment
from validibot.core.problems import Problem
from validibot.runs.access import may_cancel, visible_runs
from validibot.runs.cancel import cancel_run
from validibot.runs.models import Run
from validibot.workflows.models import Workflow
from validibot.workflows.select import WorkflowNotFound, find_workflow, visible_workflows

LAUNCH_PARAMETERS = [
    OpenApiParameter("version", int, description="Run this version instead of the latest."),
    OpenApiParameter("project", str, description="The slug of the workflow's project."),
    OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER),
    OpenApiParameter("Prefer", str, OpenApiParameter.HEADER, description="wait=SECONDS"),
    OpenApiParameter("X-Filename", str, OpenApiParameter.HEADER, description="For raw bodies."),
    OpenApiParameter(
        "X-Validibot-Scenario",
        str,
        OpenApiParameter.HEADER,
        description="For raw bodies: the field `scenario`.",
    ),
]
PROBLEMS = dict.fromkeys((400, 401, 403, 404), serializers.ProblemSerializer)


class MeView(APIView):
    """The user behind the key."""

    @extend_schema(responses={200: serializers.UserSerializer, **PROBLEMS})
    def get(self, request: Request) -> Response:
        return Response(serializers.UserSerializer(_user(request)).data)


class OrganisationsView(APIView):
    """The organisations that the user is a member of."""

    @extend_schema(responses={200: serializers.OrganisationSerializer(many=True), **PROBLEMS})
    def get(self, request: Request) -> Response:
        organisations = organisations_of(_user(request)).order_by("name")
        return Response(serializers.OrganisationSerializer(organisations, many=True).data)


class OrganisationView(APIView):
    """One organisation."""

    @extend_schema(responses={200: serializers.OrganisationSerializer, **PROBLEMS})
    def get(self, request: Request, org: str) -> Response:
        scope = _scope(request, org)
        return Response(serializers.OrganisationSerializer(scope.organisation).data)


class WorkflowsView(APIView):
    """The latest version of each workflow."""

    @extend_schema(responses={200: serializers.WorkflowSerializer(many=True), **PROBLEMS})
    def get(self, request: Request, org: str) -> Response:
        scope = _scope(request, org)
        workflows = visible_workflows(scope.user, scope.organisation).select_related(
            "organisation", "project"
        )
        pages = ByNamePagination()
        page = pages.paginate_queryset(workflows, request, self)
        return pages.get_paginated_response(serializers.WorkflowSerializer(page, many=True).data)


class WorkflowView(APIView):
    """One workflow with its steps."""

    @extend_schema(
        parameters=LAUNCH_PARAMETERS[:2],
        responses={200: serializers.WorkflowDetailSerializer, **PROBLEMS},
    )
    def get(self, request: Request, org: str, workflow: str, version: int = 0) -> Response:
        found = _workflow(request, _scope(request, org), workflow, version)
        return Response(serializers.WorkflowDetailSerializer(found).data)


class WorkflowRunsView(APIView):
    """Launch a run of a workflow."""

    @extend_schema(
        parameters=LAUNCH_PARAMETERS,
        request={
            "application/octet-stream": OpenApiTypes.BINARY,
            "multipart/form-data": serializers.MultipartLaunchSerializer,
            "application/json": serializers.EnvelopeLaunchSerializer,
        },
        responses={
            201: serializers.RunDetailSerializer,
            202: serializers.RunDetailSerializer,
            **PROBLEMS,
            409: serializers.ProblemSerializer,
            413: serializers.ProblemSerializer,
            422: serializers.ProblemSerializer,
        },
    )
    def post(self, request: Request, org: str, workflow: str, version: int = 0) -> Response:
        scope = _scope(request, org)
        return launch(request, scope, _workflow(request, scope, workflow, version))


class RunsView(APIView):
    """The runs of an organisation, newest first."""

    @extend_schema(
        parameters=filters.PARAMETERS,
        responses={200: serializers.RunSerializer(many=True), **PROBLEMS},
    )
    def get(self, request: Request, org: str) -> Response:
        scope = _scope(request, org)
        runs = visible_runs(scope).select_related("organisation", "workflow", "submission")
        runs = filters.apply(runs.defer("submission__inline"), request.query_params)
        pages = PathCursorPagination()
        page = pages.paginate_queryset(runs, request, self)
        return pages.get_paginated_response(serializers.RunSerializer(page, many=True).data)


class RunView(APIView):
    """One run with its steps and findings. Never throttled: clients poll it."""

    @extend_schema(responses={200: serializers.RunDetailSerializer, **PROBLEMS})
    def get(self, request: Request, org: str, run: UUID) -> Response:
        found = with_details(visible_runs(_scope(request, org)).filter(pk=run)).first()
        if found is None:
            raise _no_run(run)
        return Response(describe(found))


class RunEvidenceView(APIView):
    """The receipt of a run that has ended: what was sent, what ran in which image, what came of it."""

    @extend_schema(
        responses={200: OpenApiTypes.OBJECT, **PROBLEMS, 409: serializers.ProblemSerializer}
    )
    def get(self, request: Request, org: str, run: UUID) -> Response:
        found = with_details(visible_runs(_scope(request, org)).filter(pk=run)).first()
        if found is None:
            raise _no_run(run)
        if found.ended_at is None:
            raise Problem(
                409, "RUN_NOT_FINISHED", f"Run {run} has not ended; ask again when it has."
            )
        return Response(manifest_of(found))


class RunEventsView(APIView):
    """The timeline of a run, oldest first."""

    @extend_schema(responses={200: serializers.RunEventSerializer(many=True), **PROBLEMS})
    def get(self, request: Request, org: str, run: UUID) -> Response:
        found = _run(_scope(request, org), run)
        events = found.events.select_related("step_run")
        return Response(serializers.RunEventSerializer(events, many=True).data)


class RunCancelView(APIView):
    """Stop a run that has not ended."""

    @extend_schema(
        request=None,
        responses={
            200: serializers.RunDetailSerializer,
            **PROBLEMS,
            409: serializers.ProblemSerializer,
        },
    )
    def post(self, request: Request, org: str, run: UUID) -> Response:
        scope = _scope(request, org)
        found = _run(scope, run)
        if not may_cancel(scope, found):
            raise Problem(403, "PERMISSION_DENIED", "Your role does not allow cancelling this run.")
        if not cancel_run(found.pk, actor=scope.user.email):
            raise Problem(409, "RUN_FINISHED", f"Run {run} has ended and cannot be cancelled.")
        return Response(describe(with_details(Run.objects.filter(pk=found.pk)).get()))


class ArtifactView(APIView):
    """Download an artifact of a run."""

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY, **PROBLEMS})
    def get(self, request: Request, org: str, run: UUID, artifact: int) -> StreamingHttpResponse:
        found = _run(_scope(request, org), run).artifacts.filter(pk=artifact).first()
        if found is None:
            raise Problem(404, "NOT_FOUND", f"Run {run} has no artifact {artifact}.")
        return attachment(
            found.uri, version=found.storage_version, name=found.name, size=found.size_bytes
        )


def _user(request: Request) -> User:
    assert isinstance(request.user, User)
    return request.user


def _scope(request: Request, org: str) -> Scope:
    try:
        return scope_of(_user(request), org)
    except NotAMember as error:
        raise Problem(404, "NOT_FOUND", str(error)) from error


def _run(scope: Scope, pk: UUID) -> Run:
    run = visible_runs(scope).filter(pk=pk).first()
    if run is None:
        raise _no_run(pk)
    return run


def _no_run(pk: UUID) -> Problem:
    return Problem(404, "NOT_FOUND", f"There is no run {pk} in this organisation.")


def _workflow(request: Request, scope: Scope, ident: str, version: int) -> Workflow:
    wanted = str(version or request.query_params.get("version", ""))
    if wanted and not (wanted.isascii() and wanted.isdigit() and 0 < int(wanted) < 2**31):
        raise Problem(
            400,
            "INVALID",
            f"`version` is {wanted[:40]!r}; it must be a number from 1 on.",
            errors=[{"field": "version", "message": "Not a version number."}],
        )
    project = request.query_params.get("project", "")
    try:
        return find_workflow(
            scope.organisation,
            ident,
            version=int(wanted) if wanted else None,
            project=project or None,
        )
    except WorkflowNotFound as error:
        raise Problem(404, "NOT_FOUND", str(error)) from error
