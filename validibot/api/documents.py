"""Load what the API shows, in a fixed number of queries."""

from typing import Any

from django.db.models import Prefetch, QuerySet, prefetch_related_objects

from validibot.api.serializers import RunDetailSerializer
from validibot.runs.models import Run, StepRun, with_images

# What of a run changes while it is on its way.
_PROGRESS = ("status", "error_category", "error", "started_at", "ended_at")


def with_details(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Prefetch everything that a run's document needs."""
    return (
        runs.select_related("organisation", "workflow", "submission")
        .defer("submission__inline")
        .prefetch_related(_steps())
    )


def document_of(run: Run) -> dict[str, Any]:
    """Return the document of a run that was just launched, as it is now.

    What it was launched with is in memory still; only its progress is read.
    """
    run.refresh_from_db(fields=_PROGRESS)
    prefetch_related_objects([run], _steps())
    return describe(run)


def _steps() -> Prefetch[str, QuerySet[StepRun], str]:
    steps = (
        with_images(StepRun.objects.all())
        .select_related("step__validator")
        .only(
            *("run_id", "order", "status", "error", "outputs", "started_at", "ended_at"),
            *("step__name", "step__validator__outputs"),
            *("step__validator__slug", "step__validator__version"),
        )
        .prefetch_related("findings", "artifacts")
    )
    return Prefetch("steps", queryset=steps)


def describe(run: Run) -> dict[str, Any]:
    """Return the document of a run that `with_details` loaded."""
    context = {"org": run.organisation.slug}
    return dict(RunDetailSerializer(run, context=context).data)
