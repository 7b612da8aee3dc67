"""The report of a run: one HTML page for reading, printing and keeping.

It is complete in itself: no script, nothing from elsewhere, and a policy that forbids both. Findings
are grouped by rule with the true count of each and its first findings; time series are drawn as the
pages of the run draw them. The same run always gives the same bytes. `validibot.runs.pdf` writes the
same content as PDF.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from django.template.loader import render_to_string

from validibot.core.storage import ObjectNotFound
from validibot.runs import wording
from validibot.runs.artifact_head import read_head
from validibot.runs.charts import Chart
from validibot.runs.evidence import evidence_of
from validibot.runs.models import Artifact, Run, RunEvidence, StepRun, with_images
from validibot.runs.models.runs import OutputValue
from validibot.runs.rules import StepFindings, findings_by_step
from validibot.runs.series import SERIES, charts_of
from validibot.submissions.models import ReceivedFile

MAX_OUTPUT = 300
# Files with a time series that are drawn, and bytes of them all together that are read.
MAX_SERIES = 4
MAX_SERIES_BYTES = 6 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SeriesCharts:
    """The charts of an artifact with a time series; `is_cut` if only its beginning is drawn."""

    name: str
    charts: list[Chart]
    is_cut: bool = False
    is_kept: bool = True


@dataclass(frozen=True, slots=True)
class ReportedStep:
    """A step of a run with everything that a report says about it."""

    step: StepRun
    found: StepFindings
    outputs: list[OutputValue]
    artifacts: list[Artifact]
    series: list[SeriesCharts] = field(default_factory=list)
    # Files with a time series that are not drawn because there are too many.
    further_series: int = 0


@dataclass(frozen=True, slots=True)
class RunReport:
    """The content of a report, whatever its format."""

    run: Run
    verdict: str
    sentence: str
    tone: str
    duration: str
    files: list[ReceivedFile]
    steps: list[ReportedStep]
    evidence: RunEvidence | None

    @property
    def failed(self) -> ReportedStep | None:
        return next((each for each in self.steps if each.step.status == "FAILED"), None)


def as_html(run: Run) -> bytes:
    """Return the report of a run; one of a run that has not ended says so. Raises StorageError."""
    report = report_of(run)
    return render_to_string("runs/report.html", {"report": report, "run": run}).encode()


def report_of(run: Run) -> RunReport:
    """Return the content of a run's report. Raises StorageError."""
    steps = with_images(
        run.steps.select_related("step__validator").prefetch_related("artifacts").order_by("order")
    )
    found = findings_by_step(steps)
    drawn = _series({each.pk: list(each.artifacts.all()) for each in steps})
    reported = [
        ReportedStep(
            each,
            found[each.pk],
            [_output(output) for output in each.output_values()],
            list(each.artifacts.all()),
            *drawn[each.pk],
        )
        for each in steps
    ]
    return RunReport(
        run=run,
        verdict=wording.verdict(run),
        sentence=wording.verdict_sentence(run) if run.ended_at else "",
        tone=run.result.lower() if run.ended_at else "unknown",
        duration=wording.duration(run.duration_ms / 1000),
        files=[run.submission, *run.submission.further_files],
        steps=reported,
        evidence=evidence_of(run) if run.ended_at is not None and reported else None,
    )


def _series(
    artifacts: dict[int, list[Artifact]],
) -> dict[int, tuple[list[SeriesCharts], int]]:
    """Return the charts of each step, and how many of its time series are not drawn."""
    drawn = {}
    files, left = MAX_SERIES, MAX_SERIES_BYTES
    for key, listed in artifacts.items():
        series = [each for each in listed if each.type == SERIES]
        charts = []
        for artifact in series[:files]:
            if not left:
                break
            shown, read = _drawn(artifact, left)
            left -= read
            charts.append(shown)
        files -= len(charts)
        drawn[key] = charts, len(series) - len(charts)
    return drawn


def _drawn(artifact: Artifact, limit: int) -> tuple[SeriesCharts, int]:
    """Return the charts of the first `limit` bytes, and how many bytes were read."""
    try:
        head = read_head(artifact, limit)
    except ObjectNotFound:
        return SeriesCharts(artifact.name, [], is_kept=False), 0
    charts = charts_of(head.lines())[0] if head.is_text else []
    return SeriesCharts(artifact.name, charts, is_cut=not head.is_whole), len(head.content)


def _output(output: OutputValue) -> OutputValue:
    """Return an output whose value is a text of at most MAX_OUTPUT characters."""
    value: Any = output.value
    is_plain = isinstance(value, str | int | float)
    text = wording.figure(value) if is_plain else json.dumps(value, ensure_ascii=False)
    shown = text if len(text) <= MAX_OUTPUT else f"{text[: MAX_OUTPUT - 1]}…"
    return OutputValue(
        output.slug, output.label.replace("_", " "), shown, wording.unit(output.unit)
    )
