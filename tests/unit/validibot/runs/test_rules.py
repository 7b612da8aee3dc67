"""The findings of a step by rule, as the end of the step stores them."""

import pytest

from tests.factories import FindingFactory, StepFactory, StepRunFactory, started_run
from validibot.engines.problems import DocumentProblem
from validibot.runs import lifecycle
from validibot.runs.models import Finding, Run, StepRun
from validibot.runs.rules import MAX_RULES, RuleSummary, rules_found, summarise
from validibot.runs.verdict import finding, judged


def _finding(order: int, severity: str = "ERROR", code: str = "a") -> Finding:
    return Finding(order=order, severity=severity, code=code)


def test_summary_counts_each_rule_errors_first() -> None:
    rows = [_finding(1, "WARNING", "b"), *(_finding(n) for n in range(2, 9)), _finding(9, code="c")]

    assert summarise(rows) == [
        RuleSummary("ERROR", "a", None, 7, (2, 3, 4, 5, 6)),
        RuleSummary("ERROR", "c", None, 1, (9,)),
        RuleSummary("WARNING", "b", None, 1, (1,)),
    ]


def test_summary_counts_rules_beyond_limit_together() -> None:
    rows = [_finding(n, code=f"rule {n}") for n in range(MAX_RULES + 3)]

    summary = summarise(rows)

    assert len(summary) == MAX_RULES + 1
    assert summary[-1] == RuleSummary("ERROR", None, None, 3, ())


@pytest.mark.django_db
def test_close_step_stores_findings_in_order_with_their_summary() -> None:
    run = started_run(step=StepFactory.create())
    Run.objects.update(status="RUNNING", started_at=run.created_at)
    StepRun.objects.update(status="RUNNING")
    step_run = StepRun.objects.get()
    text = "tab\t back\\slash \\N newline\n ümlaut"
    problems = [
        DocumentProblem(text, code="a", path="/x", line=3, column=4),
        DocumentProblem("second", severity="INFO"),
    ]

    lifecycle.close_step(
        Run.objects.all(), step_run, judged(map(finding, problems)), last=True, actor="worker"
    )

    first, second = Finding.objects.order_by("order")
    assert (first.message, first.code, first.path, first.line, first.column) == (
        *(text, "a", "/x"),
        *(3, 4),
    )
    assert (second.order, second.severity, second.line, second.run_id) == (2, "INFO", None, run.pk)
    step_run.refresh_from_db()
    assert rules_found(step_run) == [
        RuleSummary("ERROR", "a", None, 1, (1,)),
        RuleSummary("INFO", "", None, 1, (2,)),
    ]


@pytest.mark.django_db
def test_step_without_summary_is_summarised_from_its_findings() -> None:
    step_run = StepRunFactory.create()
    FindingFactory.create(step_run=step_run, severity="WARNING", code="w", order=1)

    assert step_run.rules is None
    assert rules_found(step_run) == [RuleSummary("WARNING", "w", None, 1, (1,))]
