"""The list of runs: its filters are those of the page (`validibot.runs.filters`)."""

from django.db.models import QuerySet
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from validibot.accounts.scope import Scope
from validibot.api.documents import respond
from validibot.api.lists import (
    PathCursorPagination,
    choice,
    invalid,
    path_of,
    query_day,
    query_number,
    query_text,
)
from validibot.api.run_documents import RunPage, RunSummary
from validibot.runs.access import visible_runs
from validibot.runs.filters import RESULTS, RunSelection
from validibot.runs.listing import is_cursor, page_of_runs
from validibot.runs.models import Run
from validibot.runs.states import RunStatus

_TEXTS = ("text", "finding", "workflow", "project")
_CHOICES = {
    "status": RunStatus.values,
    "result": [value for value, _ in RESULTS],
    "source": Run.Source.values,
}


def answer_with_runs(request: Request, scope: Scope) -> HttpResponse:
    """Answer with a page of the runs that the query parameters select. Raises ApiError."""
    selection = _selection(request, scope)
    runs = visible_runs(scope).select_related("workflow", "submission").defer("submission__inline")
    runs = selection.applied(runs, scope.organisation)
    if selection.search:
        return _found(request, scope, runs, selection)
    pages = PathCursorPagination(runs, "-created_at")
    org = scope.organisation.slug
    return pages.answer(request, lambda run: RunSummary.of(run, org), RunPage)


def _selection(request: Request, scope: Scope) -> RunSelection:
    return RunSelection(
        **{name: query_text(request.query_params, name) for name in _TEXTS},
        **{name: choice(request, name, allowed) for name, allowed in _CHOICES.items()},
        version=query_number(request, "version", maximum=2**31 - 1),
        user_id=_person(request, scope),
        after=query_day(request.query_params, "after"),
        before=query_day(request.query_params, "before"),
    )


def _person(request: Request, scope: Scope) -> int | None:
    """Return the id of the user that `person` names, 0 if there is none. Raises ApiError."""
    email = query_text(request.query_params, "person")
    if not email:
        return None
    if email == "me":
        return scope.user.pk
    found = scope.organisation.members.filter(email__iexact=email).values_list("pk", flat=True)
    return found.first() or 0


def _found(
    request: Request, scope: Scope, runs: "QuerySet[Run]", selection: RunSelection
) -> HttpResponse:
    """Answer with runs that have the finding; a page reads a bounded number of runs, and may be empty."""
    if choice(request, "count", ["true", "false"]) == "true":
        raise invalid(
            "count", "true", "left out of a search in findings, which does not end at a page"
        )
    cursor = query_text(request.query_params, "cursor")
    way, _, place = cursor.partition("_")
    if cursor and not (way in ("older", "newer") and is_cursor(place)):
        raise invalid("cursor", cursor, "the `cursor` of a link to another page of this search")
    pages = PathCursorPagination(runs, "-created_at")
    found = page_of_runs(
        runs, {way: place}, size=pages.get_page_size(request), search=selection.search
    )
    here = request.build_absolute_uri()
    links = {
        name: path_of(replace_query_param(here, "cursor", f"{way}_{place}")) if place else None
        for name, way, place in (("next", "older", found.older), ("previous", "newer", found.newer))
    }
    org = scope.organisation.slug
    results = [RunSummary.of(run, org) for run in found.object_list]
    return respond(RunPage(count=None, results=results, **links))
