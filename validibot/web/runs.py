"""The pages of runs: the list, one run, its findings, and what can be done with it."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Case, Count, Prefetch, Q, QuerySet, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_GET, require_POST

from validibot.accounts.scope import Scope
from validibot.core.storage import attachment
from validibot.runs.access import may_cancel, visible_runs
from validibot.runs.lifecycle import cancel_run
from validibot.runs.models import Finding, Run, StepRun, with_images
from validibot.web.scope import member, page
from validibot.workflows.models import Severity

RUNS_PER_PAGE = 50
FINDINGS_PER_PAGE = 100
# The page of a run shows this many events, and of each step this many findings.
MAX_EVENTS = 200
MAX_FINDINGS = 50
# The finding that says how many problems an engine left out; it is shown above the others.
TRUNCATION_CODE = "problems.truncated"


def listed_runs(scope: Scope) -> QuerySet[Run]:
    """Return the runs that the user may see, with what a row of a list shows."""
    runs = visible_runs(scope).select_related("workflow", "submission", "user")
    return runs.defer("submission__inline")


def run_context(scope: Scope, pk: UUID) -> dict[str, Any]:
    """Return what the page of a run shows, in a fixed number of queries. Raises Http404."""
    steps = (
        with_images(StepRun.objects.select_related("step__validator"))
        .annotate(**{f"{each.lower()}_count": _count(each) for each in Severity.values})
        .prefetch_related(
            Prefetch(
                "findings", _worst_first(Finding.objects.all())[:MAX_FINDINGS], to_attr="shown"
            ),
            "artifacts",
        )
    )
    run = listed_runs(scope).filter(pk=pk).prefetch_related(Prefetch("steps", steps)).first()
    if run is None:
        raise Http404
    events = list(run.events.select_related("step_run")[: MAX_EVENTS + 1])
    return {
        "run": run,
        "failed_step": next((each for each in run.steps.all() if each.status == "FAILED"), None),
        "organisation": scope.organisation,
        "events": events[:MAX_EVENTS],
        "has_more_events": len(events) > MAX_EVENTS,
        "may_cancel": may_cancel(scope, run),
    }


def _count(severity: str) -> Count:
    counted = Q(findings__severity=severity) & ~Q(findings__code=TRUNCATION_CODE)
    return Count("findings", filter=counted)


def _worst_first(findings: QuerySet[Finding]) -> QuerySet[Finding]:
    rank = Case(
        When(code=TRUNCATION_CODE, then=0),
        When(severity="ERROR", then=1),
        When(severity="WARNING", then=2),
        default=3,
    )
    return findings.order_by(rank, "order")


@member
@require_GET
def runs(request: HttpRequest, scope: Scope) -> HttpResponse:
    """List runs, newest first."""
    shown = Paginator(listed_runs(scope), RUNS_PER_PAGE).get_page(request.GET.get("page"))
    return page(request, scope, "runs.html", page=shown, runs=shown.object_list)


@member
@require_GET
def run(request: HttpRequest, scope: Scope, pk: UUID) -> HttpResponse:
    """Show a run; server-sent events update the page until the run has ended."""
    return page(request, scope, "run.html", **run_context(scope, pk))


@member
@require_GET
def findings(request: HttpRequest, scope: Scope, pk: UUID, order: int) -> HttpResponse:
    """List all findings of a step, errors first."""
    found = get_object_or_404(listed_runs(scope), pk=pk)
    step = get_object_or_404(found.steps, order=order)
    shown = Paginator(_worst_first(step.findings.all()), FINDINGS_PER_PAGE).get_page(
        request.GET.get("page")
    )
    return page(request, scope, "findings.html", run=found, step_run=step, page=shown)


@member
@require_POST
def cancel(request: HttpRequest, scope: Scope, pk: UUID) -> HttpResponseBase:
    """Cancel a run."""
    if not may_cancel(scope, get_object_or_404(visible_runs(scope), pk=pk)):
        raise PermissionDenied
    if not cancel_run(pk, actor=scope.user.email):
        messages.info(request, "The run ended before it could be cancelled.")
    return redirect("run", scope.organisation.slug, pk)


@member
@require_GET
def artifact(request: HttpRequest, scope: Scope, pk: UUID, artifact_pk: int) -> HttpResponseBase:
    """Download an artifact."""
    owner = get_object_or_404(visible_runs(scope), pk=pk)
    found = get_object_or_404(owner.artifacts, pk=artifact_pk)
    return attachment(
        found.uri, version=found.storage_version, name=found.name, size=found.size_bytes
    )
