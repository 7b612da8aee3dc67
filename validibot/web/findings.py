"""The findings of a run on its pages: grouped by rule on the run's page, all of them on their own page."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode
from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext_lazy as _, ngettext
from django.views.decorators.http import require_GET

from validibot.accounts.scope import Scope
from validibot.runs.access import visible_runs
from validibot.runs.models import Finding, StepRun
from validibot.runs.rules import TRUNCATION_CODES, RuleSummary, first_findings, rules_found
from validibot.web.parameters import positive_number
from validibot.web.scope import member, page
from validibot.workflows.models import Severity

FINDINGS_PER_PAGE = 100
# Rules whose first findings the page of a run shows; of the others it shows one.
RULES_IN_FULL = 10
_SEVERITIES = tuple(Severity.values)


@dataclass(slots=True)
class RuleFindings:
    """The findings of one rule in one step: how many there are, and the first of them."""

    rule: RuleSummary
    is_open: bool = False
    shown: list[Finding] = field(default_factory=list)

    @property
    def count(self) -> int:
        return self.rule.count

    @property
    def severity(self) -> str:
        return self.rule.severity

    @property
    def query(self) -> str:
        """The query that lists only these on the page of findings."""
        rule = self.rule
        chosen = {"severity": rule.severity, "code": rule.code, "assertion": rule.assertion}
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
        first = next(
            (rule.shown[0] for rule in self.rules if rule.severity == "ERROR" and rule.shown), None
        )
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


def findings_by_step(steps: Iterable[StepRun]) -> dict[int, StepFindings]:
    """Return the findings of a run's steps by the key of the step run, in one query."""
    rules = {
        step.pk: [_shortened(*each) for each in enumerate(rules_found(step))] for step in steps
    }
    placed = first_findings(rules)
    return {key: _step_findings(key, found, placed) for key, found in rules.items()}


def _shortened(place: int, rule: RuleSummary) -> RuleSummary:
    return rule if place < RULES_IN_FULL else replace(rule, first=rule.first[:1])


def _step_findings(
    key: int, rules: Iterable[RuleSummary], placed: Mapping[tuple[int, int], Finding]
) -> StepFindings:
    step = StepFindings()
    for rule in rules:
        shown = [placed[key, order] for order in rule.first if (key, order) in placed]
        if rule.code in TRUNCATION_CODES:
            step.note = shown[0].message if shown else ""
        else:
            step.rules.append(RuleFindings(rule, is_open=not step.rules, shown=shown))
    return step


class SeverityPages:
    """Findings of a step, errors first, as a paginator slices them.

    Sorting 100,000 rows for each page takes too long: each severity is read by the index on its own.
    """

    def __init__(self, findings: "QuerySet[Finding]", counts: Mapping[str, int]) -> None:
        self._findings = findings.order_by("order")
        self._counts = counts

    def __len__(self) -> int:
        return sum(self._counts.values())

    def __getitem__(self, wanted: slice) -> list[Finding]:
        start, stop = wanted.start, wanted.stop
        found: list[Finding] = []
        for severity in _SEVERITIES:
            count = self._counts.get(severity, 0)
            if start < count and stop > 0:
                rows = self._findings.filter(severity=severity)
                found += rows[max(start, 0) : min(stop, count)]
            start, stop = start - count, stop - count
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
    rules = rules_found(step)
    rows = _selected(step, rules, chosen)
    shown: Paginator[Finding] = Paginator(rows, FINDINGS_PER_PAGE)  # type: ignore[arg-type]  # it slices only
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
        codes=sorted({rule.code for rule in rules if rule.code}),
    )


def _selected(
    step: StepRun, rules: Iterable[RuleSummary], chosen: Mapping[str, str]
) -> SeverityPages:
    """Return the findings that the query selects; the summary counts them where it can."""
    selected = step.findings.all()
    known = list(rules)
    is_counted = not chosen["text"] and all(rule.code is not None for rule in known)
    if severity := chosen["severity"]:
        selected = selected.filter(severity=severity)
        known = [rule for rule in known if rule.severity == severity]
    if code := chosen["code"]:
        selected = selected.filter(code=code)
        known = [rule for rule in known if rule.code == code]
    if assertion := positive_number(chosen["assertion"]):
        selected = selected.filter(assertion_id=assertion)
        known = [rule for rule in known if rule.assertion == assertion]
    if chosen["text"]:
        selected = selected.filter(message__icontains=chosen["text"])
    if not is_counted:
        counted = selected.order_by().values_list("severity").annotate(Count("pk"))
        return SeverityPages(selected, dict(counted))
    counts = dict.fromkeys(_SEVERITIES, 0)
    for rule in known:
        counts[rule.severity] += rule.count
    return SeverityPages(selected, counts)
