"""The API of workflows: list, read, import, export and their versions.

A workflow is written as a workflow file (`docs/workflows.md`), in YAML, as JSON of the same shape, or as
a bundle, so a repository of workflows is applied by one `PUT` for each of its files.
"""

from typing import Any

from django.db import transaction
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from validibot.accounts.models import Project
from validibot.accounts.scope import Scope
from validibot.api import documents, schema
from validibot.api.access import refused, scope_in, workflow_of
from validibot.api.base import ApiView, check_unchanged, operation
from validibot.api.bodies import read_bounded
from validibot.api.lists import PathCursorPagination, filter_workflows, invalid
from validibot.core.downloads import whole
from validibot.core.echo import echo
from validibot.core.problems import ApiError
from validibot.workflows.document import ImportInvalid, ImportProblem, WorkflowFile
from validibot.workflows.editing import versions_of
from validibot.workflows.exporting import ExportTooLarge, export_bundle, export_text
from validibot.workflows.importing import MAX_IMPORT_BYTES, import_workflow
from validibot.workflows.models import Workflow
from validibot.workflows.select import find_workflow, visible_projects, visible_workflows

EXPORTS = ("yaml", "zip")
_FORM = "multipart/form-data"
_FILE: dict[str, Any] = {
    "application/yaml": OpenApiTypes.STR,
    "application/zip": OpenApiTypes.BINARY,
    "application/json": WorkflowFile,
}


class WorkflowsView(ApiView):
    """The latest version of each workflow."""

    @operation(
        operation_id="list_workflows",
        parameters=[schema.PROJECT, *schema.PAGE],
        responses=schema.read(documents.WorkflowPage),
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        scope = scope_in(request, org, "workflow.view")
        workflows = filter_workflows(visible_workflows(scope), request.query_params).select_related(
            "organisation", "project"
        )
        pages = PathCursorPagination(workflows, "name")
        return pages.answer(request, documents.WorkflowSummary.of, documents.WorkflowPage)

    @operation(
        operation_id="create_workflow",
        parameters=[schema.PROJECT],
        request=_FILE,
        responses=schema.answers(documents.WorkflowDocument, 413, 415, 422, status=201),
    )
    def post(self, request: Request, org: str) -> HttpResponse:
        """Create a workflow from a workflow file."""
        scope = scope_in(request, org, "workflow.edit")
        return _written(_import(request, scope, update=False), status=201)


class WorkflowVersionView(ApiView):
    """One version of a workflow with its steps."""

    @operation(
        parameters=[schema.VERSION, schema.PROJECT],
        responses=schema.read(documents.WorkflowDocument),
    )
    def get(self, request: Request, org: str, workflow: str, version: int = 0) -> HttpResponse:
        found = workflow_of(request, scope_in(request, org, "workflow.view"), workflow, version)
        return documents.respond(documents.WorkflowDocument.of(found))


class WorkflowView(WorkflowVersionView):
    """One workflow with its steps."""

    @operation(
        operation_id="put_workflow",
        parameters=[schema.PROJECT, schema.IF_MATCH],
        request=_FILE,
        responses=schema.answers(documents.WorkflowDocument, 412, 413, 415, 422)
        | {(201, schema.JSON): documents.WorkflowDocument},
    )
    def put(self, request: Request, org: str, workflow: str) -> HttpResponse:
        """Create or change the workflow with this slug from a workflow file.

        A version that has runs stays as it is; the change is then the next version.
        """
        scope = scope_in(request, org, "workflow.view")
        if not scope.can_see(workflow):
            raise ApiError(404, "NOT_FOUND", f"There is no workflow {echo(workflow)}.")
        if not scope.can("workflow.edit"):
            raise refused(scope, "workflow.edit")
        versions = scope.organisation.workflows.filter(slug=workflow)
        with transaction.atomic():
            existed = bool(versions.select_for_update().values_list("pk", flat=True))
            if existed:
                current = find_workflow(scope.organisation, workflow)
                check_unchanged(request, documents.WorkflowDocument.of(current))
            elif "If-Match" in request.headers:
                raise ApiError(
                    412, "PRECONDITION_FAILED", f"There is no workflow {echo(workflow)}."
                )
            made = _import(request, scope, update=True, slug=workflow)
        return _written(made, status=200 if existed else 201)


class WorkflowVersionsView(ApiView):
    """All versions of a workflow, newest first."""

    @operation(
        operation_id="list_workflow_versions",
        parameters=schema.PAGE,
        responses=schema.read(documents.WorkflowPage),
    )
    def get(self, request: Request, org: str, workflow: str) -> HttpResponse:
        found = workflow_of(request, scope_in(request, org, "workflow.view"), workflow)
        versions = versions_of(found).select_related("organisation", "project")
        pages = PathCursorPagination(versions, "-version")
        return pages.answer(request, documents.WorkflowSummary.of, documents.WorkflowPage)


class WorkflowExportView(ApiView):
    """A version of a workflow as a workflow file: `yaml` is its text, `zip` a bundle."""

    @operation(
        parameters=[
            OpenApiParameter("kind", str, OpenApiParameter.PATH, enum=list(EXPORTS)),
            schema.VERSION,
            schema.PROJECT,
        ],
        responses=schema.answers(OpenApiTypes.BINARY, 409, media_type="application/octet-stream"),
    )
    def get(
        self, request: Request, org: str, workflow: str, kind: str, version: int = 0
    ) -> HttpResponse:
        scope = scope_in(request, org, "workflow.view")
        found = workflow_of(request, scope, workflow, version)
        if not scope.can("workflow.edit"):
            raise refused(scope, "workflow.edit")
        if kind not in EXPORTS:
            raise ApiError(404, "NOT_FOUND", f"There is no export {echo(kind)}; use yaml or zip.")
        try:
            content = export_bundle(found) if kind == "zip" else export_text(found).encode()
        except ExportTooLarge as error:
            raise ApiError(409, "EXPORT_TOO_LARGE", str(error)) from error
        return whole(content, name=f"{found.slug}-v{found.version}.{kind}")


def _import(request: Request, scope: Scope, *, update: bool, slug: str = "") -> Workflow:
    """Import the workflow file in the body. Raises ApiError with the place of each problem."""
    project = _project(request, scope)
    try:
        return import_workflow(
            _body(request),
            organisation=scope.organisation,
            author=scope.user,
            project=project,
            update=update,
            slug=slug,
        )
    except ImportInvalid as error:
        count = len(error.problems)
        problems = "1 problem" if count == 1 else f"{count} problems"
        detail = f"The workflow file has {problems}; nothing was changed. {error.problems[0]}"
        errors = [_error(each) for each in error.problems]
        raise ApiError(422, "WORKFLOW_INVALID", detail, errors=errors) from error


def _error(problem: ImportProblem) -> dict[str, Any]:
    return {"field": problem.place, "message": problem.message, "line": problem.line}


def _body(request: Request) -> bytes:
    """Return the body, whatever type it declares. Raises ApiError for forms and large bodies."""
    django_request = request._request  # noqa: SLF001 - REST framework's parsers would read it first
    if django_request.content_type == _FORM:
        detail = "Send the workflow file as the body itself, not in a form (curl --data-binary)."
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", detail)
    content = read_bounded(django_request, MAX_IMPORT_BYTES)
    if content is None:
        detail = f"A workflow file may have {MAX_IMPORT_BYTES:,} bytes. Leave out large samples."
        raise ApiError(413, "PAYLOAD_TOO_LARGE", detail)
    return content


def _project(request: Request, scope: Scope) -> Project | None:
    """Return the project that the query names for a new workflow. Raises ApiError."""
    slug = request.query_params.get("project", "")
    if not slug:
        return None
    found = None if "\x00" in slug else visible_projects(scope).filter(slug=slug).first()
    if found is None:
        raise invalid("project", slug, "the slug of a project")
    return found


def _written(workflow: Workflow, *, status: int) -> HttpResponse:
    loaded = find_workflow(workflow.organisation, str(workflow.uuid))
    place = f"/api/v1/orgs/{loaded.organisation.slug}/workflows/{loaded.slug}"
    return documents.respond(
        documents.WorkflowDocument.of(loaded),
        status=status,
        headers={"Location": f"{place}/versions/{loaded.version}/"},
    )
