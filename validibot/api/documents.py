"""Load what the API shows, in a fixed number of queries."""

from typing import Any
from uuid import UUID

from django.db.models import Prefetch, QuerySet

from validibot.api.serializers import RunDetailSerializer
from validibot.runs.models import Run, StepRun


def with_details(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Prefetch everything that a run's document needs."""
    steps = StepRun.objects.select_related("step__validator").prefetch_related(
        "findings", "artifacts"
    )
    return (
        runs.select_related("organisation", "workflow", "submission")
        .defer("submission__inline")
        .prefetch_related(Prefetch("steps", queryset=steps))
    )


def run_document(pk: UUID) -> dict[str, Any]:
    """Return the document of one run."""
    return describe(with_details(Run.objects.filter(pk=pk)).get())


def describe(run: Run) -> dict[str, Any]:
    """Return the document of a run that `with_details` loaded."""
    context = {"org": run.organisation.slug}
    return dict(RunDetailSerializer(run, context=context).data)
