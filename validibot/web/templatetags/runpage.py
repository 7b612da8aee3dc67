"""Template filters that put a run into words and figures."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import template
from django.utils.translation import get_language, gettext_lazy

from validibot.runs import wording
from validibot.runs.models import Artifact, OutputValue, Run, RunEvent, StepRun
from validibot.runs.rules import RuleSummary
from validibot.web import previews

register = template.Library()

_HEADLINES = {
    "created": gettext_lazy("created"),
    "held": gettext_lazy("waits for another run to end"),
    "queued": gettext_lazy("queued"),
    "delivered": gettext_lazy("delivered"),
    "resumed": gettext_lazy("resumed"),
    "running": gettext_lazy("running"),
    "launched": gettext_lazy("launched"),
    "launch_failed": gettext_lazy("launch failed"),
    "launch_unanswered": gettext_lazy("launch unanswered"),
    "called_back": gettext_lazy("called back"),
    "output_found": gettext_lazy("output found"),
    "step_started": gettext_lazy("step {step} started"),
    "step_passed": gettext_lazy("step {step} passed"),
    "step_failed": gettext_lazy("step {step} failed"),
    "step_skipped": gettext_lazy("step {step} skipped"),
    "step_canceled": gettext_lazy("step {step} cancelled"),
    "step_taken_over": gettext_lazy("step {step} taken over"),
    "passed": gettext_lazy("passed"),
    "failed": gettext_lazy("failed"),
    "error": gettext_lazy("error"),
    "canceled": gettext_lazy("cancelled"),
    "timed_out": gettext_lazy("timed out"),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """An output value as text."""

    label: str
    value: str
    unit: str


@register.filter
def sentence_case(text: str) -> str:
    """Return a title of django-allauth, which capitalises each word in English, as our texts."""
    title = str(text).strip()
    is_english = (get_language() or "en").startswith("en")
    return title.capitalize() if is_english else title[:1].upper() + title[1:]


@register.filter
def verdict(run: Run) -> str:
    """Return the state or result of the run as a word."""
    return wording.verdict(run)


@register.filter
def verdict_sentence(run: Run) -> str:
    """Return the sentence under the verdict: the run's own error or success message, if any."""
    return wording.verdict_sentence(run)


@register.filter
def public_sentence(run: Run) -> str:
    """Return the sentence under the verdict for people who only have a link."""
    return wording.public_sentence(run)


@register.filter
def headline(event: RunEvent) -> str:
    """Return an event in a few words."""
    words = str(_HEADLINES.get(event.kind, event.kind.replace("_", " ")))
    return words.format(step=event.step_run.order if event.step_run else "")


@register.filter
def since(moment: dt.datetime, start: dt.datetime) -> str:
    """Return the time from `start` to `moment`: `0.08 s`, `1:05 min`."""
    return wording.duration(max(0.0, (moment - start).total_seconds()))


@register.filter
def seconds(milliseconds: int) -> str:
    """Return a duration in milliseconds for people."""
    return wording.duration(milliseconds / 1000)


@register.filter
def metrics(step_run: StepRun) -> list[Metric]:
    """Return the outputs that can be shown as a figure."""
    return figures(step_run.output_values())


@register.filter
def figures(outputs: Iterable[OutputValue]) -> list[Metric]:
    """Return the outputs that can be shown as a figure, with their labels and units."""
    return [
        Metric(each.label.replace("_", " "), wording.figure(each.value), wording.unit(each.unit))
        for each in outputs
        if isinstance(each.value, int | float | str)
    ]


@register.filter
def has_preview(artifact: Artifact) -> bool:
    """Return whether an artifact can be shown on a page."""
    return previews.has_preview(artifact)


@register.filter
def query(rule: RuleSummary) -> str:
    """Return the query that lists only the findings of a rule on the page of findings."""
    chosen = {"severity": rule.severity, "code": rule.code, "assertion": rule.assertion}
    return urlencode({name: value for name, value in chosen.items() if value})


@register.filter
def figure(value: Any) -> str:
    """Return an output value for people."""
    return wording.figure(value)


@register.filter
def unit(symbol: str) -> str:
    """Return a unit in proper signs."""
    return wording.unit(symbol)


@register.filter
def share(part: float | None) -> str:
    """Return a share from 0 to 1 as percent: `97.3 %`; a dash for None."""
    return "-" if part is None else f"{100 * part:.1f} %"


@register.filter
def lasting(total: float | None) -> str:
    """Return seconds for people, as `seconds` does milliseconds; a dash for None."""
    return "-" if total is None else wording.duration(total)


@register.filter
def percent(change: float) -> str:
    """Return a change in percent with its sign."""
    return f"{change:+,.1f} %"


@register.filter
def is_open(step_run: StepRun) -> bool:
    """Return whether the page shows the step unfolded: unless it passed before the last one."""
    run = step_run.run
    is_last = step_run.order == max(each.order for each in run.steps.all())
    return step_run.status in ("FAILED", "RUNNING") or (is_last and run.result == "PASS")
