"""The page of all findings of a step."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from validibot.accounts.scope import Scope
from validibot.runs.access import visible_runs
from validibot.runs.models import Finding, StepRun
from validibot.runs.rules import RuleSummary, rules_found
from validibot.web.parameters import positive_number
from validibot.web.scope import member, page
from validibot.workflows.models import Severity

FINDINGS_PER_PAGE = 100
_SEVERITIES = tuple(Severity.values)


class SeverityPages:
    """Findings of a step, errors first, as a paginator slices them.

    Sorting 100,000 rows for each page takes too long: each severity is read by the index on its own,
    from the end that is nearer to the page.
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
                found += self._slice(severity, max(start, 0), min(stop, count))
            start, stop = start - count, stop - count
        return found

    def _slice(self, severity: str, start: int, stop: int) -> list[Finding]:
        rows, count = self._findings.filter(severity=severity), self._counts[severity]
        if start <= count // 2:
            return list(rows[start:stop])
        return list(rows.reverse()[count - stop : count - start])[::-1]


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
