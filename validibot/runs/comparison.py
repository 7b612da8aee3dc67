"""Comparisons of two runs: which findings are new, fixed or unchanged, and how the outputs changed.

Steps are compared by their order. Two findings are the same if step, severity, code, path and message
are; lines are left out, because an edit above a finding moves it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from validibot.runs.models import Finding, Run, StepRun

MAX_LISTED = 200


@dataclass(frozen=True, slots=True)
class ChangedOutput:
    """An output that two runs have: its values, and the change in percent of numbers."""

    step: str
    label: str
    unit: str
    before: Any
    after: Any
    percent: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference between two runs; the lists hold at most MAX_LISTED findings."""

    new: Sequence[Finding]
    fixed: Sequence[Finding]
    new_count: int
    fixed_count: int
    unchanged_count: int
    outputs: Sequence[ChangedOutput]


def compare(before: Run, after: Run) -> Comparison:
    """Compare two runs."""
    old, new = _identities(before), _identities(after)
    added, removed = new - old, old - new
    return Comparison(
        new=_listed(after, added),
        fixed=_listed(before, removed),
        new_count=added.total(),
        fixed_count=removed.total(),
        unchanged_count=(old & new).total(),
        outputs=_outputs(before, after),
    )


_Identity = tuple[int, str, str, str, str]


def _identities(run: Run) -> "Counter[_Identity]":
    rows = run.findings.order_by().values_list(
        "step_run__order", "severity", "code", "path", "message"
    )
    return Counter(rows.iterator())


def _listed(run: Run, wanted: "Counter[_Identity]") -> list[Finding]:
    """Return the first findings of the run that are `wanted`, as often as they are."""
    left = wanted.copy()

    def is_wanted(finding: Finding) -> bool:
        step = finding.step_run.order
        identity = (step, finding.severity, finding.code, finding.path, finding.message)
        left[identity] -= 1
        return left[identity] >= 0

    findings = run.findings.select_related("step_run").iterator()
    return list(islice(filter(is_wanted, findings), MAX_LISTED))


def _outputs(before: Run, after: Run) -> list[ChangedOutput]:
    earlier = {step.order: step for step in before.steps.select_related("step__validator")}
    changed: list[ChangedOutput] = []
    for step in after.steps.select_related("step__validator"):
        if step.order in earlier:
            changed += _changes(earlier[step.order], step)
    return changed


def _changes(before: StepRun, after: StepRun) -> list[ChangedOutput]:
    old = {each.slug: each.value for each in before.output_values()}
    return [
        ChangedOutput(
            after.name,
            each.label,
            each.unit,
            old[each.slug],
            each.value,
            _percent(old[each.slug], each.value),
        )
        for each in after.output_values()
        if each.slug in old and isinstance(each.value, int | float | str)
    ]


def _percent(before: Any, after: Any) -> float | None:
    numbers = all(
        isinstance(each, int | float) and not isinstance(each, bool) for each in (before, after)
    )
    return (after - before) / abs(before) * 100 if numbers and before else None
