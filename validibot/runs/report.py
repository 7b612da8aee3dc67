"""The report of a run: one HTML page for reading, printing and keeping.

It is complete in itself: no script, nothing from elsewhere, and a policy that forbids both. Findings
are grouped by rule with the true count of each and its first findings. The same run always gives the
same bytes. There is no PDF: the libraries that write one would add 55 MB (fpdf2 with Pillow and
fontTools) to the image, and every browser prints this page to PDF.
"""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.template.loader import render_to_string

from validibot.runs import wording
from validibot.runs.evidence import evidence_of
from validibot.runs.models import Artifact, Finding, Run, StepRun, with_images
from validibot.runs.models.runs import OutputValue
from validibot.runs.rules import TRUNCATION_CODES, RuleSummary, first_findings, rules_found

MAX_OUTPUT = 300
_SEVERITIES = {"ERROR": "errors", "WARNING": "warnings", "INFO": "notes"}


@dataclass(frozen=True, slots=True)
class ReportedRule:
    """A rule of a step with its first findings; `count` is the number of all, for people."""

    rule: RuleSummary
    shown: list[Finding]

    @property
    def count(self) -> str:
        return f"{self.rule.count:,}"

    @property
    def further(self) -> str:
        """How many findings are not shown, or an empty string."""
        further = self.rule.count - len(self.shown)
        return f"{further:,}" if further > 0 else ""


@dataclass(frozen=True, slots=True)
class ReportedStep:
    """A step as the report shows it; `totals` counts the findings by severity, as words."""

    row: StepRun
    rules: list[ReportedRule]
    notes: list[str]
    outputs: list[OutputValue]
    artifacts: list[Artifact]
    totals: str

    @property
    def reason(self) -> str:
        """The first error that is shown, or an empty string."""
        errors = (each for each in self.rules if each.rule.severity == "ERROR" and each.shown)
        first = next(errors, None)
        return textwrap.shorten(first.shown[0].message, 300, placeholder="…") if first else ""


def as_html(run: Run) -> bytes:
    """Return the report of a run; one of a run that has not ended says so."""
    steps = with_images(
        run.steps.select_related("step__validator").prefetch_related("artifacts").order_by("order")
    )
    reported = _reported(list(steps))
    has_evidence = run.ended_at is not None and bool(reported)
    context = {
        "run": run,
        "files": [run.submission, *run.submission.further_files],
        "steps": reported,
        "failed": next((each for each in reported if each.row.status == "FAILED"), None),
        "verdict": wording.verdict(run),
        "sentence": wording.verdict_sentence(run) if run.ended_at else "",
        "duration": wording.duration(run.duration_ms / 1000),
        "evidence": evidence_of(run) if has_evidence else None,
        "tone": run.result.lower() if run.ended_at else "unknown",
    }
    return render_to_string("runs/report.html", context).encode()


def _reported(steps: Sequence[StepRun]) -> list[ReportedStep]:
    """Return the steps with the first findings of each rule, which are read in one query."""
    rules = {step.pk: rules_found(step) for step in steps}
    placed = first_findings(rules)
    return [_step(step, rules[step.pk], placed) for step in steps]


def _step(
    step: StepRun, rules: list[RuleSummary], placed: dict[tuple[int, int], Finding]
) -> ReportedStep:
    reported = [
        ReportedRule(
            rule, [placed[step.pk, each] for each in rule.first if (step.pk, each) in placed]
        )
        for rule in rules
    ]
    counts = dict.fromkeys(_SEVERITIES, 0)
    for rule in rules:
        if rule.code not in TRUNCATION_CODES:
            counts[rule.severity] += rule.count
    return ReportedStep(
        row=step,
        rules=[each for each in reported if each.rule.code not in TRUNCATION_CODES],
        notes=[
            finding.message
            for each in reported
            if each.rule.code in TRUNCATION_CODES
            for finding in each.shown
        ],
        outputs=[_output(each) for each in step.output_values()],
        artifacts=list(step.artifacts.all()),
        totals=", ".join(
            f"{count:,} {_SEVERITIES[name]}" for name, count in counts.items() if count
        ),
    )


def _output(output: OutputValue) -> OutputValue:
    """Return an output whose value is a text of at most MAX_OUTPUT characters."""
    value: Any = output.value
    is_plain = isinstance(value, str | int | float)
    text = wording.figure(value) if is_plain else json.dumps(value, ensure_ascii=False)
    shown = text if len(text) <= MAX_OUTPUT else f"{text[: MAX_OUTPUT - 1]}…"
    return OutputValue(output.slug, output.label.replace("_", " "), shown, output.unit)
