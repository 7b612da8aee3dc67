"""Load runs for pages, in a fixed number of queries."""

from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from django.http import Http404

from validibot.accounts.scope import Scope
from validibot.runs.access import may_cancel, visible_runs
from validibot.runs.models import Run, StepRun, with_images


def listed_runs(scope: Scope) -> QuerySet[Run]:
    """Return the runs that the user may see, with what a row of a list shows."""
    runs = visible_runs(scope).select_related("workflow", "submission", "user")
    return runs.defer("submission__inline")


def run_context(scope: Scope, pk: UUID) -> dict[str, Any]:
    """Return what the page of a run shows. Raises Http404."""
    steps = with_images(StepRun.objects.select_related("step__validator"))
    steps = steps.prefetch_related("findings", "artifacts")
    run = listed_runs(scope).filter(pk=pk).prefetch_related(Prefetch("steps", steps)).first()
    if run is None:
        raise Http404
    return {
        "run": run,
        "organisation": scope.organisation,
        "events": run.events.select_related("step_run"),
        "may_cancel": may_cancel(scope, run),
    }
