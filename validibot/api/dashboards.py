"""The API of dashboards: the figures of an organisation, or of a part of it, by day."""

import datetime as dt

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from pydantic import BaseModel
from rest_framework.request import Request

from validibot.api import schema
from validibot.api.access import scope_in
from validibot.api.base import ApiView, operation
from validibot.api.documents import respond
from validibot.api.lists import choice, invalid, query_day, query_text
from validibot.dashboards.models import FigureKind
from validibot.dashboards.reading import MAX_DAYS, Selection, figures_of, rows_of

_DEFAULT_DAYS = 30
_FILTERS = [
    OpenApiParameter(
        "kind", str, enum=list(FigureKind.values), description="The kind of part; `organisation`."
    ),
    OpenApiParameter("key", schema.TEXT, description="The slug of the part."),
    OpenApiParameter("after", dt.date, description="On this day or later (UTC); 30 days ago."),
    OpenApiParameter("before", dt.date, description="Before this day (UTC); tomorrow."),
]


class FiguresOfDay(BaseModel):
    """The runs that ended on a day; of a validator, its steps.

    `pass_rate` is the share of those that passed among those that were judged; seconds are right within
    10 percent. All three are null on a day without any.
    """

    day: dt.date
    runs: int
    passed: int
    failed: int
    errors: int
    timed_out: int
    canceled: int
    pass_rate: float | None
    seconds_p50: float | None
    seconds_p95: float | None
    findings: int
    people: int


class FiguresDocument(BaseModel):
    """The figures of the days that have any, in their order."""

    kind: str
    key: str
    results: list[FiguresOfDay]


class FiguresView(ApiView):
    """The daily figures of an organisation, a project, a workflow or a validator."""

    @operation(
        operation_id="list_figures", parameters=_FILTERS, responses=schema.read(FiguresDocument)
    )
    def get(self, request: Request, org: str) -> HttpResponse:
        organisation = scope_in(request, org, "analytics.view").organisation
        kind = choice(request, "kind", FigureKind.values) or FigureKind.ORGANISATION.value
        key = query_text(request.query_params, "key")
        if bool(key) == (kind == FigureKind.ORGANISATION):
            raise invalid("key", key, "the slug of a part, and none of an organisation")
        first, last = _days(request)
        selection = Selection(organisation, first, last, kind, key)
        results = [FiguresOfDay.model_validate(figures_of(row)) for row in rows_of(selection)]
        return respond(FiguresDocument(kind=kind, key=key, results=results))


def _days(request: Request) -> tuple[dt.date, dt.date]:
    """Return the first and the last day that the query selects. Raises ApiError."""
    before = query_day(request.query_params, "before")
    after = query_day(request.query_params, "after")
    today = timezone.now().astimezone(dt.UTC).date()
    last = before.date() - dt.timedelta(days=1) if before and before.year > 1 else today
    first = (
        after.date()
        if after
        else max(last, dt.date.min + dt.timedelta(days=_DEFAULT_DAYS))
        - dt.timedelta(days=_DEFAULT_DAYS - 1)
    )
    if (last - first).days >= MAX_DAYS:
        raise invalid("after", first.isoformat(), f"at most {MAX_DAYS} days before the last day")
    return first, last
