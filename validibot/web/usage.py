"""The page of an organisation's credits: balance, usage and ledger, with a range of days."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_GET

from validibot.accounts.scope import Scope
from validibot.core.downloads import streamed
from validibot.credits.ledger import balance_of
from validibot.credits.models import EntryKind, LedgerEntry
from validibot.credits.usage import (
    EXPORTS,
    GROUPS,
    UsageRow,
    day,
    entries_between,
    groups_for,
    shows_people,
    usage_by_all,
)
from validibot.dashboards.models import FigureKind
from validibot.dashboards.reading import counts_between
from validibot.runs.charts import Chart, bar_chart
from validibot.web.paging import BoundedPaginator
from validibot.web.scope import page, permitted

ENTRIES_PER_PAGE = 50
MAX_DAYS = 3 * 366
# The range of a page whose address names none.
_DAYS = 365


class UsageForm(forms.Form):
    """The range of days, and the kind of entries that are listed."""

    after = forms.DateField(
        label=gettext_lazy("From"), required=False, widget=forms.DateInput({"type": "date"})
    )
    before = forms.DateField(
        label=gettext_lazy("Before"), required=False, widget=forms.DateInput({"type": "date"})
    )
    kind = forms.ChoiceField(
        label=gettext_lazy("Entries"),
        choices=[("", gettext_lazy("All entries")), *EntryKind.choices],
        required=False,
    )

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        before = values.get("before") or timezone.localdate() + dt.timedelta(days=1)
        earliest = max(before, dt.date.min + dt.timedelta(days=_DAYS)) - dt.timedelta(days=_DAYS)
        after = values.get("after") or earliest
        if not 0 < (before - after).days <= MAX_DAYS:
            text = _("From %(after)s to before %(before)s is no range of 1 to %(limit)d days.")
            names = {"after": after, "before": before, "limit": MAX_DAYS}
            raise ValidationError({"after": text % names})
        return values | {"after": after, "before": before}


@permitted("analytics.view")
@require_GET
def usage(request: HttpRequest, scope: Scope) -> HttpResponse:
    """Show the balance, and the usage and the ledger of the range."""
    form = UsageForm(request.GET)
    entries = _entries(scope, form)
    usage = _usage(scope, form)
    months = usage["month"]
    balance = balance_of(scope.organisation)
    kind = form.cleaned_data.get("kind")
    listed = entries.filter(kind=kind) if kind else entries
    return page(
        request,
        scope,
        "usage.html",
        form=form,
        balance=balance,
        shows_people=shows_people(scope),
        uncharged=_uncharged(scope, form) if balance is None else [],
        used=sum(row.credits for row in months),
        chart=_chart(months) if months else None,
        groups=[
            (title, usage[group])
            for group, title in _titles().items()
            if group in groups_for(scope)
        ],
        page=BoundedPaginator(listed.select_related("user"), ENTRIES_PER_PAGE).get_page(
            request.GET.get("page")
        ),
        query=_query(request),
    )


@permitted("analytics.view")
@require_GET
def usage_export(request: HttpRequest, scope: Scope, kind: str) -> StreamingHttpResponse:
    """Download the usage or the ledger of the range as CSV."""
    entries = _entries(scope, UsageForm(request.GET))
    return streamed(EXPORTS[kind](entries, scope), name=f"{kind}.csv")


def _titles() -> dict[str, str]:
    return {"workflow": _("Workflow"), "validator": _("Validator"), "person": _("Person")}


def _chart(months: Sequence[UsageRow]) -> Chart:
    used = [(_("used"), [row.credits for row in months])]
    names = [row.name for row in months]
    return bar_chart(_("Credits used by month"), _("credits"), names, used).as_history()


def _entries(scope: Scope, form: UsageForm) -> "QuerySet[LedgerEntry]":
    """Return the entries of the range; a range with an error has none."""
    if not form.is_valid():
        return LedgerEntry.objects.none()
    after, before = (day(form.cleaned_data[name]) for name in ("after", "before"))
    return entries_between(scope.organisation, after, before)


def _usage(scope: Scope, form: UsageForm) -> dict[str, list[UsageRow]]:
    if not form.is_valid():
        return {group: [] for group in GROUPS}
    after, before = (day(form.cleaned_data[name]) for name in ("after", "before"))
    return usage_by_all(scope.organisation, after, before)


def _uncharged(scope: Scope, form: UsageForm) -> list[tuple[str, str, list[tuple[str, int]]]]:
    """Return what an organisation without a limit has run: title, unit and rows of each table."""
    if not form.is_valid():
        return []
    first, before = form.cleaned_data["after"], form.cleaned_data["before"]
    counts = counts_between(scope.organisation, first, before - dt.timedelta(days=1))
    tables = [
        (_("Month"), _("Runs"), counts[FigureKind.ORGANISATION]),
        (_("Workflow"), _("Runs"), counts[FigureKind.WORKFLOW]),
        (_("Validator"), _("Steps"), counts[FigureKind.VALIDATOR]),
    ]
    return [each for each in tables if each[2]]


def _query(request: HttpRequest) -> str:
    parameters = request.GET.copy()
    parameters.pop("page", None)
    return parameters.urlencode()
