"""The findings of a step by rule: how many there are of each, and which come first.

A rule is a severity, a code and an assertion. The summary is written when the step ends, so that pages
and API need not count 100,000 rows each time.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Q

from validibot.runs.models import Finding, StepRun
from validibot.workflows.models import Severity

# The code of the finding that says how many others were left out.
LEFT_OUT = "findings.left_out"
# Codes of all findings that say so; they are shown above the rules.
TRUNCATION_CODES = ("problems.truncated", LEFT_OUT)
# Findings of each rule whose order the summary has.
SHOWN_OF_RULE = 5
# Rules of a step with a summary of their own. The others are counted together, by severity.
MAX_RULES = 200
_RANKS = {Severity.ERROR.value: 0, Severity.WARNING.value: 1, Severity.INFO.value: 2}


@dataclass(frozen=True, slots=True)
class RuleSummary:
    """How many findings of a rule a step has; `first` are the orders of the first ones.

    `code` is None for the findings of all rules beyond `MAX_RULES`; `first` is then empty.
    """

    severity: str
    code: str | None
    assertion: int | None
    count: int
    first: tuple[int, ...]


def summarise(findings: Iterable[Finding]) -> list[RuleSummary]:
    """Return the findings of a step by rule: errors first, then by their first finding."""
    counts: dict[tuple[str, str, int | None], int] = {}
    first: dict[tuple[str, str, int | None], list[int]] = {}
    for finding in findings:
        rule = (str(finding.severity), finding.code, finding.assertion_id)
        counts[rule] = counts.get(rule, 0) + 1
        orders = first.setdefault(rule, [])
        if len(orders) < SHOWN_OF_RULE:
            orders.append(finding.order)
    ordered = sorted(counts, key=lambda rule: (_RANKS[rule[0]], first[rule]))
    distinct = ordered[:MAX_RULES]
    summaries = [RuleSummary(*rule, counts[rule], tuple(first[rule])) for rule in distinct]
    return [*summaries, *_others(counts, ordered[MAX_RULES:])]


def _others(
    counts: Mapping[tuple[str, str, int | None], int], rules: Iterable[tuple[str, str, int | None]]
) -> Iterator[RuleSummary]:
    totals: dict[str, int] = {}
    for rule in rules:
        totals[rule[0]] = totals.get(rule[0], 0) + counts[rule]
    for severity, count in totals.items():
        yield RuleSummary(severity, None, None, count, ())


def as_rows(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return the summary of findings as `StepRun.rules` keeps it."""
    return [asdict(each) for each in summarise(findings)]


def rules_found(step_run: StepRun) -> list[RuleSummary]:
    """Return the summary of a step's findings.

    It is computed for a step that ended before summaries were written; such a step has few findings.
    """
    if step_run.rules is None:
        return summarise(step_run.findings.order_by("order").iterator())
    return [RuleSummary(**{**row, "first": tuple(row["first"])}) for row in step_run.rules]


def first_findings(
    rules: Mapping[int, Iterable[RuleSummary]],
) -> dict[tuple[int, int], Finding]:
    """Return the findings that summaries name, by the key of their step run and their order.

    `rules` has the summary of each step run by its key. One query reads them all. A finding may be
    missing: an operator can delete it.
    """
    wanted = [
        Q(step_run_id=key, order__in=[order for rule in found for order in rule.first])
        for key, found in rules.items()
    ]
    rows = Finding.objects.filter(reduce(or_, wanted)) if wanted else Finding.objects.none()
    return {(finding.step_run_id, finding.order): finding for finding in rows}
