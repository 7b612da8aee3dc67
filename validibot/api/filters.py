"""Narrow a list of runs by query parameters, each refused by name when it is wrong."""

import datetime as dt
from collections.abc import Mapping

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter

from validibot.core.problems import Problem
from validibot.runs.models import Run
from validibot.runs.states import RunStatus

PARAMETERS = [
    OpenApiParameter("status", str, enum=list(RunStatus.values)),
    OpenApiParameter("workflow", str, description="A workflow's slug."),
    OpenApiParameter("after", dt.date, description="Created on this day or later (UTC)."),
    OpenApiParameter("before", dt.date, description="Created before this day (UTC)."),
]


def apply(runs: QuerySet[Run], parameters: Mapping[str, str]) -> QuerySet[Run]:
    """Return the runs that `parameters` ask for. Raises Problem."""
    if status := parameters.get("status"):
        if status not in RunStatus.values:
            raise _wrong("status", status, f"one of {', '.join(RunStatus.values)}")
        runs = runs.filter(status=status)
    if workflow := parameters.get("workflow"):
        if "\x00" in workflow:
            raise _wrong("workflow", workflow, "a workflow's slug")
        runs = runs.filter(workflow__slug=workflow)
    if after := _day(parameters, "after"):
        runs = runs.filter(created_at__gte=after)
    if before := _day(parameters, "before"):
        runs = runs.filter(created_at__lt=before)
    return runs


def _day(parameters: Mapping[str, str], name: str) -> dt.datetime | None:
    text = parameters.get(name)
    if not text:
        return None
    try:
        day = dt.date.fromisoformat(text)
    except ValueError as error:
        raise _wrong(name, text, "a day such as 2026-01-31") from error
    return timezone.make_aware(dt.datetime.combine(day, dt.time()))


def _wrong(field: str, value: str, expected: str) -> Problem:
    message = f"`{field}` is {value[:80]!r}; it must be {expected}."
    return Problem(400, "INVALID", message, errors=[{"field": field, "message": message}])
