"""Pages of a list of runs, by cursor: a million rows are neither counted nor skipped."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_datetime

from validibot.runs.models import Run

# Given runs in their order, a search returns those that fit, and how many of them it looked at.
type RunSearch = Callable[[Sequence[UUID]], tuple[set[UUID], int]]
# Runs that a page gives to a search.
SEARCHED_RUNS = 1_000


@dataclass(frozen=True, slots=True)
class RunListPage:
    """A page of runs, newest first; `newer` and `older` are the cursors of the pages beside it, or "".

    `searched_to` is the moment of the oldest run that a search looked at, if there are older ones.
    """

    object_list: list[Run]
    newer: str
    older: str
    searched_to: dt.datetime | None = None


def page_of_runs(
    runs: "QuerySet[Run]",
    parameters: Mapping[str, str],
    *,
    size: int,
    search: RunSearch | None = None,
) -> RunListPage:
    """Return the page behind the cursor `older` or before the cursor `newer`, else the first one.

    Counting a million rows takes longer than showing fifty of them, and so does skipping half of
    them: a cursor names the run beside the page. One that cannot be read gives the first page.
    """
    place = _place(parameters.get("newer", ""))
    is_backwards = place is not None
    place = place or _place(parameters.get("older", ""))
    order = ("created_at", "pk") if is_backwards else ("-created_at", "-pk")
    rows = runs.order_by(*order)
    if place:
        rows = rows.filter(_beyond(*place, is_newer=is_backwards))
    if search is None:
        found = list(rows[: size + 1])
        shown, edge = found[:size], _cursor(found[size - 1]) if len(found) > size else ""
        searched_to = None
    else:
        shown, edge, searched_to = _searched(rows, search, size)
    if is_backwards:
        shown.reverse()
        older = _cursor(shown[-1]) if shown else parameters["newer"]
        return RunListPage(shown, newer=edge, older=older, searched_to=searched_to)
    newer = (_cursor(shown[0]) if shown else parameters["older"]) if place else ""
    return RunListPage(shown, newer=newer, older=edge, searched_to=searched_to)


def _searched(
    rows: "QuerySet[Run]", search: RunSearch, size: int
) -> tuple[list[Run], str, dt.datetime | None]:
    """Return the runs that fit, the cursor behind them, and how far the search came."""
    candidates = list(rows.values_list("pk", "created_at")[: SEARCHED_RUNS + 1])
    searched = candidates[:SEARCHED_RUNS]
    fitting, count = search([pk for pk, _ in searched])
    wanted = [(pk, moment) for pk, moment in searched if pk in fitting]
    by_key = {run.pk: run for run in rows.filter(pk__in=[pk for pk, _ in wanted[:size]])}
    # A run may have been deleted meanwhile.
    shown = [by_key[pk] for pk, _ in wanted[:size] if pk in by_key]
    if len(wanted) > size:
        return shown, _written(*wanted[size - 1]), None
    if count >= len(candidates):
        return shown, "", None
    last = candidates[count - 1]
    return shown, _written(*last), last[1]


def _beyond(moment: dt.datetime, key: UUID, *, is_newer: bool) -> Q:
    """Return the condition for rows beyond a place; its first part is what indexes know."""
    side, strict = ("gte", "gt") if is_newer else ("lte", "lt")
    tie = Q(**{f"created_at__{strict}": moment}) | Q(**{f"pk__{strict}": key})
    return Q(**{f"created_at__{side}": moment}) & tie


def _cursor(run: Run) -> str:
    return _written(run.pk, run.created_at)


def _written(key: UUID, moment: dt.datetime) -> str:
    return f"{moment.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}Z_{key}"


def is_cursor(text: str) -> bool:
    """Return whether a text is a cursor of `page_of_runs`."""
    return _place(text) is not None


def _place(cursor: str) -> tuple[dt.datetime, UUID] | None:
    """Return the moment and the key that a cursor names, or None."""
    moment, _, key = cursor.partition("_")
    try:
        at = parse_datetime(moment)
        found = UUID(key)
    except ValueError:
        return None
    # `_written` gives UTC; PostgreSQL takes no offset of 16 hours or more.
    return (at, found) if at is not None and at.tzinfo is dt.UTC else None
