"""The pages of workflows: the list, one workflow, its samples, and the form that starts a run."""

import io
from dataclasses import replace

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from validibot.accounts.models import Project
from validibot.accounts.scope import Scope
from validibot.core.downloads import whole
from validibot.core.site_limits import largest_file
from validibot.credits.ledger import balance_of
from validibot.runs.access import NotAdmitted, check_runnable
from validibot.runs.backends import get_backend
from validibot.runs.models import Run
from validibot.runs.start import start
from validibot.submissions import content
from validibot.submissions.intake import IntakeError, read_metadata, receive
from validibot.web import badges
from validibot.web.editor.access import workflow_tabs
from validibot.web.inputs_form import InputsForm
from validibot.web.runs import listed_runs
from validibot.web.scope import member, page
from validibot.workflows.editing import archived_workflows
from validibot.workflows.images import image_of
from validibot.workflows.models import Sample, WeatherFile, Workflow
from validibot.workflows.scenarios import CATALOGUE, Kind
from validibot.workflows.select import (
    WorkflowNotFound,
    accepted_extensions,
    enabled_steps,
    find_visible_workflow,
    takes_further_files,
    visible_projects,
    visible_workflows,
)

LATEST_RUNS = 10


@member
@require_GET
def workflows(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Show the workflows of the organisation and its latest runs; authors may ask for archived ones."""
    may_edit = scope.can("workflow.edit")
    archived = archived_workflows(scope.organisation) if may_edit else Workflow.objects.none()
    shows_archived = may_edit and request.GET.get("archived") == "1"
    shown = archived if shows_archived else visible_workflows(scope)
    projects = list(visible_projects(scope))
    project = next((each for each in projects if each.slug == request.GET.get("project")), None)
    if project:
        shown = shown.filter(project=project)
    return page(
        request,
        scope,
        "workflows.html",
        workflows=shown.select_related("project").prefetch_related("steps__validator"),
        project=project,
        project_tabs=_project_tabs(scope, projects, project),
        may_edit=may_edit,
        shows_archived=shows_archived,
        has_archived=may_edit and archived.exists(),
        runs=listed_runs(scope).exclude(source=Run.Source.TRIAL)[:LATEST_RUNS],
    )


def _project_tabs(
    scope: Scope, projects: list[Project], current: Project | None
) -> list[dict[str, object]]:
    """Return the tabs that filter the list by project; none where there is nothing to choose."""
    if len(projects) < 2:
        return []
    url = reverse("workflows", args=[scope.organisation.slug])
    tabs: list[dict[str, object]] = [
        {"url": url, "text": _("All projects"), "is_current": current is None}
    ]
    return tabs + [
        {"url": f"{url}?project={each.slug}", "text": each.name, "is_current": each == current}
        for each in projects
    ]


@member
@require_http_methods(["GET", "POST"])
def workflow(
    request: HttpRequest, scope: Scope, slug: str, version: int | None = None
) -> HttpResponseBase:
    """Show a workflow, or one version of it; take a file for it."""
    found = _find(scope, slug, version)
    if request.method == "GET":
        return _show(request, scope, found)
    try:
        _check_launchable(scope, found)
        with receive(request) as incoming:
            if found.input_schema:
                metadata = read_metadata(
                    incoming.metadata | InputsForm(found, request.POST).metadata()
                )
                run = _start(scope, found, replace(incoming, metadata=metadata))
            else:
                run = _start(scope, found, incoming)
    except (IntakeError, NotAdmitted) as error:
        return _refuse(request, scope, found, error)
    return redirect("run", scope.organisation.slug, run.pk)


@member
@require_POST
def launch_sample(request: HttpRequest, scope: Scope, slug: str, pk: int) -> HttpResponseBase:
    """Run a workflow with one of its samples."""
    sample = _sample(scope, slug, pk)
    found = _find(scope, slug, sample.workflow.version)
    source = io.BytesIO(sample.content)
    size, sha256 = content.measure(source)
    scenario = request.POST.get("scenario", "")
    incoming = content.Incoming(
        source, sample.filename, size, sha256, metadata=sample.metadata, scenario=scenario
    )
    try:
        _check_launchable(scope, found)
        run = _start(scope, found, incoming)
    except NotAdmitted as error:
        return _refuse(request, scope, found, error)
    return redirect("run", scope.organisation.slug, run.pk)


@member
@require_GET
def sample(request: HttpRequest, scope: Scope, slug: str, pk: int) -> HttpResponse:
    """Download a sample."""
    found = _sample(scope, slug, pk)
    return whole(bytes(found.content), name=found.filename)


def _find(scope: Scope, slug: str, version: int | None = None) -> Workflow:
    try:
        return find_visible_workflow(scope, slug, version=version)
    except WorkflowNotFound as error:
        raise Http404 from error


def _sample(scope: Scope, slug: str, pk: int) -> Sample:
    """Return a sample of any version of a workflow. Raises Http404."""
    latest = _find(scope, slug)
    versions = Sample.objects.filter(
        workflow__organisation=scope.organisation, workflow__slug=latest.slug
    )
    found: Sample = get_object_or_404(versions.select_related("workflow"), pk=pk)
    return found


def _show(
    request: HttpRequest,
    scope: Scope,
    found: Workflow,
    *,
    error: IntakeError | NotAdmitted | None = None,
) -> HttpResponse:
    status = error.status if error else 200
    faults = error.inputs if isinstance(error, NotAdmitted) else {}
    sent = request.POST if request.method == "POST" else None
    return page(
        request,
        scope,
        "workflow.html",
        status=status,
        inputs=InputsForm(found, sent, faults=faults),
        workflow=found,
        image=image_of(found),
        badge=badges.snippets(found),
        tabs=workflow_tabs(scope, found, "workflow"),
        samples=found.samples.defer("content"),
        accepted=sorted(accepted_extensions(found)),
        takes_further_files=takes_further_files(found),
        weather=_weather(found),
        limit=largest_file(),
        may_launch=scope.can_launch(found.slug),
        price=sum(step.validator.credits for step in enabled_steps(found)),
        balance=balance_of(scope.organisation),
        scenarios=_scenarios(),
        problem=error.message if error and not faults else "",
    )


def _refuse(
    request: HttpRequest, scope: Scope, found: Workflow, error: IntakeError | NotAdmitted
) -> HttpResponse:
    """Show the workflow with the reason why the file was not taken."""
    response = _show(request, scope, found, error=error)
    if isinstance(error, NotAdmitted):
        for name, value in error.headers.items():
            response.headers[name] = value
    return response


def _weather(found: Workflow) -> "QuerySet[WeatherFile]":
    """Return the weather that may be chosen on the page."""
    is_taken = any(step.validator.takes_weather for step in enabled_steps(found))
    return WeatherFile.objects.defer("files") if is_taken else WeatherFile.objects.none()


def _scenarios() -> list[Kind]:
    """Return what may be chosen on the page: something for developers, where validators play it."""
    offered = settings.DEBUG and get_backend().plays_scenarios
    return list(CATALOGUE.values()) if offered else []


def _check_launchable(scope: Scope, found: Workflow) -> None:
    """Raise NotAdmitted where no file would do; asked before one is taken in."""
    if not scope.can_launch(found.slug):
        raise NotAdmitted("PERMISSION_DENIED", scope.refusal("run.launch"), status=403)
    check_runnable(found)


def _start(scope: Scope, found: Workflow, incoming: content.Incoming) -> Run:
    return start(found, incoming, user=scope.user, source=Run.Source.LAUNCH_PAGE).run
