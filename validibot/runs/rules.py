"""The findings of a step by rule: how many there are of each, and which come first.

A rule is a severity, a code and an assertion. The summary is written when the step ends, so that pages
and API need not count 100,000 rows each time.
"""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Q
from django.utils.translation import ngettext

from validibot.runs.models import Finding, StepRun
from validibot.workflows.models import Severity

# The code of the finding that says how many others were left out.
LEFT_OUT = "findings.left_out"
# Codes of all findings that say so; they are shown above the rules.
TRUNCATION_CODES = ("problems.truncated", "basic.more", "table.more", LEFT_OUT)
# Findings of each rule whose order the summary has.
SHOWN_OF_RULE = 5
# Rules of a step with a summary of their own. The others are counted together, by severity.
MAX_RULES = 200
# Rules of a step whose first findings pages of a run show; of the others they show one.
RULES_IN_FULL = 10
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


@dataclass(frozen=True, slots=True)
class RuleFindings:
    """The findings of one rule in one step: how many there are, and the first of them."""

    rule: RuleSummary
    shown: list[Finding]

    @property
    def count(self) -> int:
        return self.rule.count

    @property
    def severity(self) -> str:
        return self.rule.severity

    @property
    def further(self) -> int:
        """How many findings are not shown."""
        return self.rule.count - len(self.shown)


@dataclass(frozen=True, slots=True)
class StepFindings:
    """The findings of a step by rule, worst first, with notes about those that were left out."""

    notes: list[str] = field(default_factory=list)
    rules: list[RuleFindings] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(each.count for each in self.rules)

    @property
    def has_problems(self) -> bool:
        """Whether there is more than notes: the page shows problems above outputs."""
        return any(each.severity != Severity.INFO for each in self.rules)

    @property
    def reason(self) -> str:
        """The first error that is shown, in one line, or an empty string."""
        errors = (each for each in self.rules if each.severity == Severity.ERROR and each.shown)
        first = next(errors, None)
        return textwrap.shorten(first.shown[0].message, 300, placeholder="…") if first else ""

    @property
    def totals(self) -> str:
        """How many there are of each severity: `2 errors, 1 warning`."""
        counts = dict.fromkeys(Severity.values, 0)
        for each in self.rules:
            counts[each.severity] += each.count
        words = {
            "ERROR": ngettext("error", "errors", counts["ERROR"]),
            "WARNING": ngettext("warning", "warnings", counts["WARNING"]),
            "INFO": ngettext("note", "notes", counts["INFO"]),
        }
        return ", ".join(f"{counts[each]:,} {words[each]}" for each in words if counts[each])


def findings_by_step(
    steps: Iterable[StepRun], *, in_full: int | None = None
) -> dict[int, StepFindings]:
    """Return the findings of a run's steps by the key of the step run, in one query.

    With `in_full` only so many rules of a step show all of their first findings, the others one. A
    finding may be missing: an operator can delete it.
    """
    rules = {step.pk: _shortened(rules_found(step), in_full) for step in steps}
    placed = _first_findings(rules)
    return {key: _step_findings(key, found, placed) for key, found in rules.items()}


def _shortened(rules: list[RuleSummary], in_full: int | None) -> list[RuleSummary]:
    if in_full is None:
        return rules
    return rules[:in_full] + [replace(each, first=each.first[:1]) for each in rules[in_full:]]


def _first_findings(
    rules: Mapping[int, Iterable[RuleSummary]],
) -> dict[tuple[int, int], Finding]:
    """Return the findings that summaries name, by the key of their step run and their order."""
    wanted = [
        Q(step_run_id=key, order__in=[order for rule in found for order in rule.first])
        for key, found in rules.items()
    ]
    rows = Finding.objects.filter(reduce(or_, wanted)) if wanted else Finding.objects.none()
    return {(finding.step_run_id, finding.order): finding for finding in rows}


def _step_findings(
    key: int, rules: Iterable[RuleSummary], placed: Mapping[tuple[int, int], Finding]
) -> StepFindings:
    step = StepFindings()
    for rule in rules:
        shown = [placed[key, order] for order in rule.first if (key, order) in placed]
        if rule.code in TRUNCATION_CODES:
            step.notes.extend(finding.message for finding in shown)
        else:
            step.rules.append(RuleFindings(rule, shown))
    return step
