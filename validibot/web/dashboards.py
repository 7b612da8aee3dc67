"""The page of an organisation's dashboard, and its figures as CSV."""

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_GET

from validibot.accounts.models import Organisation
from validibot.accounts.scope import Scope
from validibot.core.downloads import whole
from validibot.core.words import WORDS
from validibot.dashboards.models import DailyFigures, FigureKind
from validibot.dashboards.reading import (
    MAX_DAYS,
    Dashboard,
    PeriodFigures,
    Selection,
    as_csv,
    read_dashboard,
)
from validibot.runs.charts import Chart, bar_chart, line_chart
from validibot.web.scope import page, permitted

DEFAULT_DAYS = 30
_RESULTS = {
    "passed": WORDS["PASS"],
    "failed": WORDS["FAIL"],
    "errors": WORDS["ERROR"],
    "timed_out": WORDS["TIMED_OUT"],
    "canceled": WORDS["CANCELED"],
}
_FORMATS = {"day": "%d/%m", "week": "%d/%m", "month": "%m/%Y"}


class DashboardForm(forms.Form):
    """The part of the organisation and the days that a dashboard is about."""

    of = forms.ChoiceField(label=gettext_lazy("Figures of"), required=False)
    first = forms.DateField(
        label=gettext_lazy("From"), required=False, widget=forms.DateInput({"type": "date"})
    )
    last = forms.DateField(
        label=gettext_lazy("To"), required=False, widget=forms.DateInput({"type": "date"})
    )

    def __init__(self, data: Mapping[str, Any], organisation: Organisation) -> None:
        self._today = timezone.now().astimezone(dt.UTC).date()
        self._organisation = organisation
        first = self._today - dt.timedelta(days=DEFAULT_DAYS - 1)
        defaults = {"of": "", "first": first.isoformat(), "last": self._today.isoformat()}
        sent = {name: data.get(name, "") for name in defaults}
        super().__init__({name: value or defaults[name] for name, value in sent.items()})
        self.fields["of"].choices = _parts(organisation)  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, last = cleaned.get("first"), cleaned.get("last")
        if first and last and first > last:
            self.add_error("first", _("This day is after the last one. Choose an earlier day."))
        elif first and last and (last - first).days >= MAX_DAYS:
            text = _("These are more than %(days)d days. Choose a later day.") % {"days": MAX_DAYS}
            self.add_error("first", text)
        return cleaned

    @property
    def selection(self) -> Selection | None:
        """The selection, or None if a field is not valid."""
        if not self.is_valid():
            return None
        kind, _sign, key = self.cleaned_data["of"].partition(":")
        return Selection(
            self._organisation,
            self.cleaned_data["first"],
            self.cleaned_data["last"],
            kind or FigureKind.ORGANISATION,
            key,
        )


@permitted("analytics.view")
@require_GET
def dashboard(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Show the figures of an organisation, or of a part of it."""
    form = DashboardForm(request.GET, scope.organisation)
    selection = form.selection
    found = read_dashboard(selection) if selection else None
    has_figures = bool(found and found.total.runs)
    return page(
        request,
        scope,
        "dashboard.html",
        form=form,
        found=found,
        has_figures=has_figures,
        is_counted=has_figures
        or DailyFigures.objects.filter(organisation=scope.organisation).exists(),
        charts=[each.as_history() for each in _charts(found)] if found and has_figures else [],
    )


@permitted("analytics.view")
@require_GET
def dashboard_csv(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Download the figures of each day of a selection as CSV."""
    selection = DashboardForm(request.GET, scope.organisation).selection
    if selection is None:
        return HttpResponse(_("Correct the fields of the dashboard first."), status=400)
    return whole(as_csv(selection), name=f"dashboard-{selection.first}-{selection.last}.csv")


def _parts(organisation: Organisation) -> list[Any]:
    """Return the parts that have figures, by kind, for the form."""
    known = DailyFigures.objects.filter(organisation=organisation).exclude(key="")
    found = known.order_by("kind", "key").values_list("kind", "key").distinct()
    by_kind: dict[str, list[tuple[str, str]]] = {}
    for kind, key in found:
        by_kind.setdefault(kind, []).append((f"{kind}:{key}", key))
    groups = [
        (FigureKind(kind).label, by_kind[kind]) for kind in FigureKind.values if kind in by_kind
    ]
    return [("", _("the whole organisation")), *groups]


def _charts(found: Dashboard) -> list[Chart]:
    """Return the charts of runs, pass rate, durations and people."""
    periods = found.periods
    names = [f"{period.day:{_FORMATS[found.unit]}}" for period in periods]
    by_result = [
        (str(name), [each.results[key] for each in periods]) for key, name in _RESULTS.items()
    ]
    runs = bar_chart(_("Runs by result"), _("runs"), names, by_result)
    people = bar_chart(
        _("People who started runs, most in a day"),
        _("people"),
        names,
        [(_("People"), [each.people for each in periods])],
    )
    if len(periods) < 2:
        return [runs, people]
    shares = [math.nan if each.pass_rate is None else 100 * each.pass_rate for each in periods]
    rate = _lines(_("Pass rate"), "%", periods, names, [(_("Passed"), shares)], span=(0, 100))
    times = [
        (name, [math.nan if value is None else value for value in values])
        for name, values in (
            (_("Half of the runs"), [each.p50 for each in periods]),
            (_("95 percent"), [each.p95 for each in periods]),
        )
    ]
    return [runs, rate, _lines(_("Duration"), "s", periods, names, times), people]


def _lines(
    title: str,
    unit: str,
    periods: list[PeriodFigures],
    names: list[str],
    lines: list[tuple[str, list[float]]],
    span: tuple[float, float] | None = None,
) -> Chart:
    positions = [period.day.toordinal() for period in periods]
    places = sorted({round(each * (len(names) - 1) / 4) for each in range(5)})
    ticks = [(positions[place], names[place]) for place in places]
    return line_chart(title, unit, positions, lines, x_ticks=ticks, span=span)
