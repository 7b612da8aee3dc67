"""The findings of a run on its pages: grouped by rule on the run's page, all of them on their own page."""

from dataclasses import dataclass, field
from urllib.parse import urlencode
from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Case, Count, F, Min, QuerySet, When, Window
from django.db.models.functions import RowNumber
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext_lazy as _, ngettext
from django.views.decorators.http import require_GET

from validibot.accounts.scope import Scope
from validibot.runs.access import visible_runs
from validibot.runs.models import Finding, Run, StepRun
from validibot.web.scope import member, page
from validibot.workflows.models import Severity

FINDINGS_PER_PAGE = 100
# The page of a run shows so many findings of each rule.
SHOWN_OF_RULE = 5
# The finding that says how many problems an engine left out; it is shown above the others.
TRUNCATION_CODE = "problems.truncated"
_RANK = Case(
    When(code=TRUNCATION_CODE, then=0),
    When(severity=Severity.ERROR, then=1),
    When(severity=Severity.WARNING, then=2),
    default=3,
)
_RULE = ("step_run_id", "severity", "code", "assertion_id")


@dataclass(slots=True)
class RuleFindings:
    """The findings of one rule in one step: how many there are, and the first of them."""

    severity: str
    code: str
    assertion_id: int | None
    count: int
    is_open: bool = False
    shown: list[Finding] = field(default_factory=list)

    @property
    def query(self) -> str:
        """The query that lists only these on the page of findings."""
        chosen = {"severity": self.severity, "code": self.code, "assertion": self.assertion_id}
        return urlencode({name: value for name, value in chosen.items() if value})


@dataclass(slots=True)
class StepFindings:
    """The findings of a step by rule, worst first, with the note about those that were left out."""

    note: str = ""
    rules: list[RuleFindings] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(rule.count for rule in self.rules)

    @property
    def has_problems(self) -> bool:
        """Whether there is more than notes: the page shows problems above outputs."""
        return any(rule.severity != Severity.INFO for rule in self.rules)

    @property
    def reason(self) -> str:
        """The first error in one line, or an empty string."""
        first = next((rule.shown[0] for rule in self.rules if rule.severity == "ERROR"), None)
        text = " ".join(first.message.split()) if first else ""
        return text if len(text) <= 300 else f"{text[:299]}…"

    @property
    def totals(self) -> str:
        """How many there are of each severity: `2 errors, 1 warning`."""
        counts = {
            severity: sum(rule.count for rule in self.rules if rule.severity == severity)
            for severity in Severity.values
        }
        words = {
            "ERROR": ngettext("error", "errors", counts["ERROR"]),
            "WARNING": ngettext("warning", "warnings", counts["WARNING"]),
            "INFO": ngettext("note", "notes", counts["INFO"]),
        }
        return ", ".join(f"{counts[each]:,} {words[each]}" for each in words if counts[each])


def findings_by_step(run: Run) -> dict[int, StepFindings]:
    """Return the findings of a run by the key of their step run, in two queries."""
    mine = Finding.objects.filter(run=run)
    counted = mine.values(*_RULE).annotate(count=Count("pk"), rank=_RANK, first=Min("order"))
    found: dict[int, StepFindings] = {}
    rules: dict[tuple[object, ...], RuleFindings] = {}
    for row in counted.order_by("step_run_id", "rank", "first"):
        key = tuple(row[name] for name in _RULE)
        rules[key] = RuleFindings(row["severity"], row["code"], row["assertion_id"], row["count"])
        step = found.setdefault(row["step_run_id"], StepFindings())
        if row["code"] != TRUNCATION_CODE:
            rules[key].is_open = not step.rules
            step.rules.append(rules[key])
    place = Window(RowNumber(), partition_by=[F(name) for name in _RULE], order_by="order")
    shown = mine.alias(place=place).filter(place__lte=SHOWN_OF_RULE)
    for finding in shown.order_by("order"):
        rules[tuple(getattr(finding, name) for name in _RULE)].shown.append(finding)
        if finding.code == TRUNCATION_CODE:
            found[finding.step_run_id].note = finding.message
    return found


@member
@require_GET
def findings(request: HttpRequest, scope: Scope, pk: UUID, order: int) -> HttpResponse:
    """List the findings of a step, errors first: all, or those that the query selects."""
    run = get_object_or_404(
        visible_runs(scope).select_related("workflow", "submission").defer("submission__inline"),
        pk=pk,
    )
    step = get_object_or_404(run.steps, order=order)
    chosen = {
        name: request.GET.get(name, "").replace("\x00", "")[:200]
        for name in ("severity", "code", "assertion", "text")
    }
    shown = Paginator(_selected(step, chosen).order_by(_RANK, "order"), FINDINGS_PER_PAGE)
    return page(
        request,
        scope,
        "findings.html",
        run=run,
        step_run=step,
        page=shown.get_page(request.GET.get("page")),
        chosen=chosen,
        is_filtered=any(chosen.values()),
        severities=[("ERROR", _("Errors")), ("WARNING", _("Warnings")), ("INFO", _("Notes"))],
        codes=_codes(step),
    )


def _selected(step: StepRun, chosen: dict[str, str]) -> "QuerySet[Finding]":
    selected = step.findings.all()
    for name in ("severity", "code"):
        if chosen[name]:
            selected = selected.filter(**{name: chosen[name]})
    if chosen["assertion"].isascii() and chosen["assertion"].isdigit():
        selected = selected.filter(assertion_id=int(chosen["assertion"][:9]))
    if chosen["text"]:
        selected = selected.filter(message__icontains=chosen["text"])
    return selected


def _codes(step: StepRun) -> list[str]:
    """Return the codes that the step's findings have, for the filter."""
    codes = step.findings.exclude(code="").order_by("code").values_list("code", flat=True)
    return list(codes.distinct()[:200])
