"""The trend of each output over the runs of a workflow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from validibot.accounts.scope import Scope
from validibot.runs import wording
from validibot.runs.charts import Chart, line_chart
from validibot.runs.models import Run, StepRun
from validibot.web.runs import listed_runs
from validibot.web.scope import member, page
from validibot.workflows.select import WorkflowNotFound, find_visible_workflow

RUNS = 100
# Charts of a page; the others are chosen by their name.
MAX_TRENDS = 24
_LABELS = 5


@dataclass(slots=True)
class OutputTrend:
    """The values of an output by the place of the run; `name` says step and output."""

    name: str
    unit: str
    values: dict[int, float] = field(default_factory=dict)


@member
@require_GET
def trend(request: HttpRequest, scope: Scope, slug: str) -> HttpResponse:
    """Show how the outputs of the latest runs of a workflow changed, in whatever version."""
    try:
        workflow = find_visible_workflow(scope, slug)
    except WorkflowNotFound as error:
        raise Http404 from error
    runs = _latest(scope, slug)
    trends = trends_of(runs)
    text = request.GET.get("output", "").strip()[:200]
    fitting = [each for each in trends if text.casefold() in each.name.casefold()]
    return page(
        request,
        scope,
        "trend.html",
        workflow=workflow,
        runs=runs,
        text=text,
        has_trends=bool(trends),
        charts=[_chart(runs, each) for each in fitting[:MAX_TRENDS]],
        left_out=max(0, len(fitting) - MAX_TRENDS),
    )


def _latest(scope: Scope, slug: str) -> list[Run]:
    """Return the latest runs that ended and that the user may see, the oldest first."""
    # Their keys, not a join: PostgreSQL then knows how many runs they have.
    versions = list(scope.organisation.workflows.filter(slug=slug).values_list("pk", flat=True))
    steps = StepRun.objects.select_related("step__validator").order_by("order")
    ended = listed_runs(scope).filter(workflow__in=versions, ended_at__isnull=False)
    return list(ended.prefetch_related(Prefetch("steps", steps))[:RUNS])[::-1]


def trends_of(runs: Sequence[Run]) -> list[OutputTrend]:
    """Return the outputs of the runs that are numbers, by step and output, those with two values."""
    found: dict[tuple[int, str], OutputTrend] = {}
    for place, run in enumerate(runs):
        for step in run.steps.all():
            for output in filter(lambda each: _is_number(each.value), step.output_values()):
                name = f"{step.order} {step.name}: {output.label.replace('_', ' ')}"
                key = step.order, output.slug
                trend = found.setdefault(key, OutputTrend(name, output.unit))
                trend.name, trend.unit = name, output.unit
                trend.values[place] = float(output.value)
    return [each for each in found.values() if len(each.values) > 1]


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and abs(value) < 1e300


def _chart(runs: Sequence[Run], trend: OutputTrend) -> Chart:
    """Return the line of an output over the runs that have it, in their order."""
    places = sorted(trend.values)
    moments = {each: timezone.localtime(runs[each].created_at) for each in places}
    shown = dict.fromkeys(
        places[round(number * (len(places) - 1) / (_LABELS - 1))] for number in range(_LABELS)
    )
    ticks = [(place, f"{moments[place]:%d/%m %H:%M}") for place in shown]
    values = [trend.values[place] for place in places]
    lines = [(_("Output"), values)]
    unit = wording.unit(trend.unit)
    return line_chart(trend.name, unit, places, lines, x_ticks=ticks).as_history()
