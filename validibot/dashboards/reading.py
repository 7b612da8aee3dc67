"""The figures that a dashboard shows: those of days, put together to periods."""

import csv
import datetime as dt
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.db.models import F, Q, Sum
from django.db.models.functions import TruncMonth

from validibot.accounts.models import Organisation
from validibot.core.spreadsheets import safe_cell
from validibot.dashboards.durations import centile
from validibot.dashboards.models import DailyFigures, FigureKind

# Days that a dashboard may cover: three years.
MAX_DAYS = 1096
# Workflows, projects and validators whose runs are listed.
MAX_PARTS = 200
# Rules that a dashboard lists.
TOP_RULES = 10
_RESULTS = ("passed", "failed", "errors", "timed_out", "canceled")
# Up to so many days a dashboard shows days, up to so many weeks.
_DAYS, _WEEKS = 31, 182
COLUMNS = (
    *("day", "runs", *_RESULTS, "pass_rate", "seconds_p50", "seconds_p95", "findings", "people"),
)


@dataclass(frozen=True, slots=True)
class Selection:
    """The part of an organisation and the days (UTC), both included, that a dashboard is about."""

    organisation: Organisation
    first: dt.date
    last: dt.date
    kind: str = FigureKind.ORGANISATION
    key: str = ""


@dataclass(slots=True)
class PeriodFigures:
    """The figures of one period that begins on a day; `people` are the most of any of its days."""

    day: dt.date
    results: Counter[str] = field(default_factory=Counter)
    durations: Counter[int] = field(default_factory=Counter)
    findings: int = 0
    people: int = 0

    def add(self, row: DailyFigures) -> None:
        """Add the figures of a day."""
        for name in _RESULTS:
            self.results[name] += getattr(row, name)
        for place, times in row.durations.items():
            self.durations[int(place)] += times
        self.findings += row.findings
        self.people = max(self.people, row.people)

    @property
    def runs(self) -> int:
        return sum(self.results.values())

    @property
    def pass_rate(self) -> float | None:
        """The share of runs that passed among those that were judged, or None without any."""
        judged = self.results["passed"] + self.results["failed"]
        return self.results["passed"] / judged if judged else None

    @property
    def p50(self) -> float | None:
        """The seconds that half of the judged runs took at most, or None without any."""
        return centile(self.durations, 0.5) if self.durations else None

    @property
    def p95(self) -> float | None:
        """The seconds that 95 percent of the judged runs took at most, or None without any."""
        return centile(self.durations, 0.95) if self.durations else None


@dataclass(frozen=True, slots=True)
class RuleFigures:
    """How many findings of a rule there were."""

    severity: str
    code: str
    count: int


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The figures of a selection: together, by period, and the rules with most findings.

    Periods are days, weeks from Monday or months, depending on how many days are selected; one without
    runs is there, too.
    """

    selection: Selection
    total: PeriodFigures
    periods: list[PeriodFigures]
    rules: list[RuleFigures]
    unit: str


def read_dashboard(selection: Selection) -> Dashboard:
    """Return the figures of a selection, in one query."""
    number = (selection.last - selection.first).days + 1
    unit = "day" if number <= _DAYS else "week" if number <= _WEEKS else "month"
    starts = [_start(selection.first + dt.timedelta(days=each), unit) for each in range(number)]
    periods = {start: PeriodFigures(start) for start in dict.fromkeys(starts)}
    total = PeriodFigures(selection.first)
    rules: Counter[tuple[str, str]] = Counter()
    for row in rows_of(selection):
        periods[_start(row.day, unit)].add(row)
        total.add(row)
        for rule in row.rules:
            rules[rule["severity"], rule["code"]] += rule["count"]
    order = {"ERROR": 0, "WARNING": 1}
    ranked = sorted(rules.items(), key=lambda each: (order.get(each[0][0], 2), -each[1], each[0]))
    top = [RuleFigures(*rule, count) for rule, count in ranked[:TOP_RULES]]
    return Dashboard(selection, total, list(periods.values()), top, unit)


def rows_of(selection: Selection) -> Iterator[DailyFigures]:
    """Yield the figures of the selected days that have any, in their order."""
    days = DailyFigures.objects.filter(
        organisation=selection.organisation,
        kind=selection.kind,
        key=selection.key,
        day__range=(selection.first, selection.last),
    )
    yield from days.order_by("day")


def counts_between(
    organisation: Organisation, first: dt.date, last: dt.date
) -> dict[str, list[tuple[str, int]]]:
    """Return how much was run from `first` to `last` (UTC), both included, by kind of part.

    Of the organisation there are months (`2026-05`) with their runs, in order; of workflows and projects
    slugs with runs, of validators slugs with steps: the largest, at most MAX_PARTS.
    """
    days = DailyFigures.objects.filter(organisation=organisation, day__range=(first, last))
    ran = Sum(sum((F(name) for name in _RESULTS[1:]), F(_RESULTS[0])))
    whole = Q(kind=FigureKind.ORGANISATION)
    found: dict[str, list[tuple[str, int]]] = {kind: [] for kind in FigureKind.values}
    months = days.filter(whole).values(month=TruncMonth("day")).annotate(count=ran)
    for row in months.order_by("month"):
        found[FigureKind.ORGANISATION].append((f"{row['month']:%Y-%m}", row["count"]))
    parts = days.exclude(whole).values("kind", "key").annotate(count=ran)
    for part in parts.order_by("-count", "key"):
        if len(found[part["kind"]]) < MAX_PARTS:
            found[part["kind"]].append((part["key"], part["count"]))
    return found


def as_csv(selection: Selection) -> bytes:
    """Return the figures of each day as CSV, without what a spreadsheet would evaluate."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in rows_of(selection):
        writer.writerow(safe_cell(value) for value in figures_of(row).values())
    return text.getvalue().encode()


def figures_of(row: DailyFigures) -> dict[str, str | int | float | None]:
    """Return the figures of a day by the names of COLUMNS."""
    period = PeriodFigures(row.day)
    period.add(row)
    return {
        "day": row.day.isoformat(),
        "runs": period.runs,
        **{name: period.results[name] for name in _RESULTS},
        "pass_rate": _rounded(period.pass_rate),
        "seconds_p50": _rounded(period.p50),
        "seconds_p95": _rounded(period.p95),
        "findings": period.findings,
        "people": period.people,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _start(day: dt.date, unit: str) -> dt.date:
    """Return the first day of the period that a day lies in."""
    if unit == "week":
        return day - dt.timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day
