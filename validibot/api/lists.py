"""Lists of the public API: pages by cursor, and filters.

Links between pages are paths: a client behind a proxy can always follow them. A parameter that cannot
be used is refused with 400 and its name; an empty one counts as one that was left out.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.utils import timezone
from pydantic import BaseModel
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from validibot.api.documents import ListPage, respond
from validibot.core.echo import echo
from validibot.core.problems import ApiError
from validibot.runs.models import Finding
from validibot.workflows.models import Severity, WeatherFile, Workflow


class PathCursorPagination(CursorPagination):
    """Pages of `page_size` rows by cursor; a cursor that this server did not issue is refused."""

    page_size = 50
    max_page_size = 200

    def __init__(self, queryset: "QuerySet[Any]", ordering: str) -> None:
        self.queryset = queryset
        # Rows of the same moment have an order, too: a page neither repeats nor leaves out one.
        tie = "-pk" if ordering.startswith("-") else "pk"
        self.ordering = (ordering, tie)

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Return the request's cursor, its position checked against the column that it names.

        A moment is told in UTC: PostgreSQL takes no offset of 16 hours or more, Python does.
        """
        cursor = super().decode_cursor(request)
        if cursor is None or cursor.position is None:
            return cursor
        field = self.queryset.model._meta.get_field(self.ordering[0].lstrip("-"))  # noqa: SLF001
        try:
            place = field.to_python(cursor.position)
            if isinstance(place, dt.datetime) and timezone.is_aware(place):
                place = place.astimezone(dt.UTC)
                cursor = cursor._replace(position=place.isoformat())  # type: ignore[arg-type] # a text
        except (ValidationError, OverflowError):
            place = None
        text = isinstance(place, str) and "\x00" not in place
        moment = isinstance(place, dt.datetime) and timezone.is_aware(place)
        if not (text or moment or isinstance(place, int)):
            raise invalid(
                "cursor", request.query_params["cursor"], "the `cursor` of a link to another page"
            )
        return cursor

    def get_page_size(self, request: Request) -> int:
        asked = query_number(request, "page_size", maximum=self.max_page_size)
        return asked or self.page_size

    def answer[D: BaseModel](
        self, request: Request, of: Callable[[Any], D], kind: type[ListPage[D]]
    ) -> HttpResponse:
        """Answer with the page that `request` asks for; `of` makes the document of a row."""
        counts = choice(request, "count", ["true", "false"]) == "true"
        rows = self.paginate_queryset(self.queryset, request) or []
        page = kind(
            next=path_of(self.get_next_link()),
            previous=path_of(self.get_previous_link()),
            count=self.queryset.count() if counts else None,
            results=[of(row) for row in rows],
        )
        return respond(page)


def query_number(request: Request, name: str, *, maximum: int) -> int | None:
    """Return the query parameter `name` as a number from 1 to `maximum`, or None. Raises ApiError."""
    text = request.query_params.get(name, "")
    if not text:
        return None
    # The length first: Python refuses to read thousands of digits.
    readable = text.isascii() and text.isdigit() and len(text) <= len(str(maximum))
    if not (readable and 1 <= (number := int(text)) <= maximum):
        raise invalid(name, text, f"a number from 1 to {maximum}")
    return number


def filter_findings(findings: QuerySet[Finding], request: Request) -> QuerySet[Finding]:
    """Return the findings that the query parameters select. Raises ApiError."""
    parameters = request.query_params
    severity = choice(request, "severity", Severity.values)
    if severity:
        findings = findings.filter(severity=severity)
    if step := query_number(request, "step", maximum=2**31 - 1):
        findings = findings.filter(step_run__order=step)
    for name, lookup in (("code", "code"), ("text", "message__icontains")):
        if value := parameters.get(name):
            if "\x00" in value:
                raise invalid(name, value, "text without NUL")
            findings = findings.filter(**{lookup: value})
    return findings


def choice(request: Request, name: str, allowed: Sequence[str]) -> str:
    """Return the query parameter `name`, one of `allowed`, or "" if it is empty. Raises ApiError."""
    value: str | None = request.query_params.get(name)
    if value and value not in allowed:
        raise invalid(name, value, f"one of {', '.join(allowed)}")
    return value or ""


def filter_workflows(
    workflows: QuerySet[Workflow], parameters: Mapping[str, str]
) -> QuerySet[Workflow]:
    """Return the workflows that the query parameters select. Raises ApiError."""
    project = _slug(parameters, "project")
    return workflows.filter(project__slug=project) if project else workflows


def filter_weather(
    weather: QuerySet[WeatherFile], parameters: Mapping[str, str]
) -> QuerySet[WeatherFile]:
    """Return the entries whose name or location has the `text` of the query. Raises ApiError."""
    text = query_text(parameters, "text")
    return weather.filter(Q(name__icontains=text) | Q(location__icontains=text))


def query_text(parameters: Mapping[str, str], name: str) -> str:
    """Return the text that the query names, or an empty one. Raises ApiError for NUL."""
    text = parameters.get(name, "")
    if "\x00" in text:
        raise invalid(name, text, "text without NUL")
    return text


def _slug(parameters: Mapping[str, str], name: str) -> str:
    value = parameters.get(name, "")
    if "\x00" in value:
        raise invalid(name, value, f"a {name}'s slug")
    return value


def query_day(parameters: Mapping[str, str], name: str) -> dt.datetime | None:
    """Return the beginning of the day (UTC) that the query names, or None. Raises ApiError."""
    text = parameters.get(name)
    if not text:
        return None
    try:
        day = dt.date.fromisoformat(text)
    except ValueError as error:
        raise invalid(name, text, "a day such as 2026-01-31") from error
    return timezone.make_aware(dt.datetime.combine(day, dt.time()))


def invalid(field: str, value: str, expected: str) -> ApiError:
    """Return the answer to a parameter that cannot be used."""
    message = f"`{field}` is {echo(value)}; it must be {expected}."
    return ApiError(400, "INVALID", message, errors=[{"field": field, "message": message}])


def path_of(link: str | None) -> str | None:
    """Return the path and query of an absolute link."""
    return link and "/" + link.split("/", 3)[3]
