"""How a run is put into words and figures for its page."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django import template

from validibot.runs.models import Finding, Run, RunEvent, StepRun

register = template.Library()

_VERDICTS = {
    "PENDING": ("Queued", "The run waits for a worker."),
    "RUNNING": ("Running", "This page follows along by itself."),
    "PASS": ("Passed", "The file satisfies every step."),
    "FAIL": ("Failed", "The file does not satisfy the workflow; the findings say why."),
    "ERROR": ("Error", "We could not finish the validation. This says nothing about the file."),
    "CANCELED": ("Cancelled", "The run was stopped before its end."),
    "TIMED_OUT": ("Timed out", "The validation took longer than it may."),
}
_HEADLINES = {
    "called_back": "called back",
    "step_started": "step {step} started",
    "step_passed": "step {step} passed",
    "step_failed": "step {step} failed",
    "step_canceled": "step {step} cancelled",
    "canceled": "cancelled",
    "timed_out": "timed out",
}
_SEVERITIES = (("ERROR", "error"), ("WARNING", "warning"), ("INFO", "note"))


@dataclass(frozen=True, slots=True)
class Metric:
    """An output value as it is shown."""

    label: str
    value: str
    unit: str


@dataclass(frozen=True, slots=True)
class Group:
    """The findings of one severity."""

    severity: str
    title: str
    findings: list[Finding]
    open: bool


@register.filter
def verdict(run: Run) -> str:
    """Return the word that sums up where the run stands."""
    return _verdict(run)[0]


@register.filter
def verdict_sentence(run: Run) -> str:
    """Return the sentence under the word: the run's own error or success message, if any."""
    if run.result == "PASS" and run.workflow.success_message:
        return run.workflow.success_message
    own_words = run.error if run.result in ("ERROR", "TIMED_OUT", "CANCELED") else ""
    return own_words or _verdict(run)[1]


@register.filter
def headline(event: RunEvent) -> str:
    """Return what happened, in a few words."""
    words = _HEADLINES.get(event.kind, event.kind.replace("_", " "))
    return words.format(step=event.step_run.order if event.step_run else "")


@register.filter
def since(moment: dt.datetime, start: dt.datetime) -> str:
    """Return the time from `start` to `moment`: `0.08 s`, `1:05 min`."""
    return _duration(max(0.0, (moment - start).total_seconds()))


@register.filter
def seconds(milliseconds: int) -> str:
    """Return a duration in milliseconds for people."""
    return _duration(milliseconds / 1000)


@register.filter
def metrics(step_run: StepRun) -> list[Metric]:
    """Return the outputs that can be shown as a figure."""
    return [
        Metric(each.label.replace("_", " "), _figure(each.value), each.unit)
        for each in step_run.output_values()
        if isinstance(each.value, int | float | str)
    ]


@register.filter
def by_severity(step_run: StepRun) -> list[Group]:
    """Return the findings grouped, worst first; the worst group is open."""
    groups: list[Group] = []
    findings = list(step_run.findings.all())
    for severity, noun in _SEVERITIES:
        of_this = [finding for finding in findings if finding.severity == severity]
        if of_this:
            count = len(of_this)
            title = f"{count} {noun}{'' if count == 1 else 's'}"
            groups.append(Group(severity, title, of_this, open=not groups))
    return groups


def _verdict(run: Run) -> tuple[str, str]:
    return _VERDICTS[run.result if run.state == "COMPLETED" else run.state]


def _duration(total: float) -> str:
    if total < 60:
        return f"{total:.2f} s"
    minutes, rest = divmod(round(total), 60)
    return f"{minutes}:{rest:02d} min"


def _figure(value: Any) -> str:
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
