"""The pages of runs: the list, one run, and what can be done with it."""

from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from validibot.accounts.scope import Scope
from validibot.runs.access import NotAdmitted, may_cancel, visible_runs
from validibot.runs.comparison import compare
from validibot.runs.exports import FORMATS
from validibot.runs.filters import RUNS_PER_PAGE
from validibot.runs.lifecycle import cancel_run
from validibot.runs.listing import page_of_runs
from validibot.runs.models import Run, StepRun, with_images
from validibot.runs.progress import progress_of
from validibot.runs.rerun import rerun, retry
from validibot.runs.rules import RULES_IN_FULL, findings_by_step
from validibot.runs.takeover import failed_step, living_retry
from validibot.web.run_filters import RunFilters
from validibot.web.saved_views import SavedViewForm, views_of
from validibot.web.scope import member, page
from validibot.workflows.validator_samples import sample_of
from validibot.workflows.versions import newest

# The page of a run shows this many events.
MAX_EVENTS = 200
# Runs of the same workflow that are offered for a comparison.
MAX_COMPARABLE = 20
# The columns that a row of the list shows.
_ROW = (
    *("status", "error_category", "created_at", "started_at", "ended_at", "user__email"),
    *("workflow__name", "workflow__version", "submission__filename", "submission__name"),
)


def listed_runs(scope: Scope) -> QuerySet[Run]:
    """Return the runs that the user may see, with what a row of a list shows."""
    runs = visible_runs(scope).select_related("workflow", "submission", "user")
    return runs.defer("submission__inline")


def run_context(scope: Scope, pk: UUID) -> dict[str, Any]:
    """Return what the page of a run shows, in a fixed number of queries. Raises Http404."""
    steps = with_images(StepRun.objects.select_related("step__validator"))
    run = (
        listed_runs(scope)
        .filter(pk=pk)
        .prefetch_related(Prefetch("steps", steps.prefetch_related("artifacts")))
        .first()
    )
    if run is None:
        raise Http404
    events = list(run.events.select_related("step_run")[: MAX_EVENTS + 1])
    found = findings_by_step(run.steps.all(), in_full=RULES_IN_FULL)
    failed_at = failed_step(run, run.steps.all())
    retried_by = living_retry(run) if failed_at else None
    if retried_by and not visible_runs(scope).filter(pk=retried_by.pk).exists():
        retried_by = None
    shown = [(each, found[each.pk]) for each in run.steps.all()]
    return {
        "run": run,
        "steps": shown,
        "failed": next((each for each in shown if each[0].status == "FAILED"), None),
        "organisation": scope.organisation,
        "events": events[:MAX_EVENTS],
        "has_more_events": len(events) > MAX_EVENTS,
        "may_cancel": may_cancel(scope, run),
        "progress": progress_of(run),
        "failed_at": failed_at,
        "retried_by": retried_by,
    }


@member
@require_GET
def runs(request: HttpRequest, scope: Scope) -> HttpResponse:
    """List the runs that the filters select, newest first."""
    filters = RunFilters(request.GET, scope=scope)
    selection = filters.selection
    # Only what a row shows: a workflow has long texts.
    rows = visible_runs(scope).select_related("workflow", "submission", "user").only(*_ROW)
    shown = page_of_runs(
        selection.applied(rows, scope.organisation),
        request.GET,
        size=RUNS_PER_PAGE,
        search=selection.search,
    )
    return page(
        request,
        scope,
        "runs.html",
        filters=filters,
        views=views_of(scope),
        view_form=SavedViewForm(initial={"query": request.GET.urlencode()}, auto_id="view-%s"),
        rerun_key=uuid4().hex,
        page=shown,
    )


@member
@require_GET
def run(request: HttpRequest, scope: Scope, pk: UUID) -> HttpResponse:
    """Show a run; server-sent events update the page until the run has ended."""
    context = run_context(scope, pk)
    found: Run = context["run"]
    latest = newest(found.workflow)
    return page(
        request,
        scope,
        "run.html",
        may_launch=scope.can_launch(found.workflow.slug) and not found.workflow.is_trial,
        may_share=scope.can("run.launch"),
        sample=sample_of(found.workflow) if scope.can("validator.manage") else None,
        latest=latest if latest.pk != found.workflow_id else None,
        # Of two clicks on the same button the second finds the run of the first.
        rerun_key=uuid4().hex,
        export_formats=FORMATS,
        trace_url=f"{settings.TRACES_URL}{pk}" if settings.TRACES_URL else "",
        comparable=_comparable(scope, found)[:MAX_COMPARABLE],
        **context,
    )


@member
@require_POST
def cancel(request: HttpRequest, scope: Scope, pk: UUID) -> HttpResponseBase:
    """Cancel a run."""
    if not may_cancel(scope, get_object_or_404(visible_runs(scope), pk=pk)):
        raise PermissionDenied
    if not cancel_run(pk, actor=scope.user.email):
        messages.info(request, _("The run ended before it could be cancelled."))
    return redirect("run", scope.organisation.slug, pk)


@member
@require_POST
def rerun_run(request: HttpRequest, scope: Scope, pk: UUID) -> HttpResponseBase:
    """Start a run on the same submission, of the same version or, if asked, of the newest one."""
    found = get_object_or_404(listed_runs(scope), pk=pk)
    if not scope.can_launch(found.workflow.slug):
        raise PermissionDenied(scope.refusal("run.launch"))
    workflow = newest(found.workflow) if request.POST.get("version") == "newest" else found.workflow
    key = request.POST.get("key", "")
    try:
        started = rerun(
            found,
            workflow,
            user=scope.user,
            source=Run.Source.LAUNCH_PAGE,
            idempotency_key=key if key.isalnum() and len(key) == 32 else "",
        )
    except NotAdmitted as error:
        messages.error(request, error.message)
        return redirect("run", scope.organisation.slug, pk)
    return redirect("run", scope.organisation.slug, started.run.pk)


@member
@require_POST
def retry_run(request: HttpRequest, scope: Scope, pk: UUID) -> HttpResponseBase:
    """Start a run that goes on from the failed step of a run, or show the one that does."""
    found = get_object_or_404(listed_runs(scope), pk=pk)
    if not scope.can_launch(found.workflow.slug):
        raise PermissionDenied(scope.refusal("run.launch"))
    try:
        started = retry(found, user=scope.user, source=Run.Source.LAUNCH_PAGE)
    except NotAdmitted as error:
        messages.error(request, error.message)
        return redirect("run", scope.organisation.slug, pk)
    if not visible_runs(scope).filter(pk=started.run.pk).exists():
        messages.info(request, _("Somebody else has tried this run again."))
        return redirect("run", scope.organisation.slug, pk)
    return redirect("run", scope.organisation.slug, started.run.pk)


@member
@require_GET
def comparison(request: HttpRequest, scope: Scope, pk: UUID, other: UUID) -> HttpResponse:
    """Compare a run with another of the same organisation, which is the earlier state."""
    after = get_object_or_404(listed_runs(scope), pk=pk)
    before = get_object_or_404(listed_runs(scope), pk=other)
    difference = compare(before, after)
    return page(request, scope, "comparison.html", before=before, after=after, found=difference)


def _comparable(scope: Scope, run: Run) -> QuerySet[Run]:
    """Return other finished runs of the workflow, in whatever version, newest first."""
    # Their keys, not a join: PostgreSQL then knows how many runs they have.
    versions = list(
        run.organisation.workflows.filter(slug=run.workflow.slug).values_list("pk", flat=True)
    )
    return (
        listed_runs(scope).filter(workflow__in=versions, ended_at__isnull=False).exclude(pk=run.pk)
    )
