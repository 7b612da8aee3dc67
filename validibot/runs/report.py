"""The report of a run: one HTML page for reading, printing and keeping.

It is complete in itself: no script, nothing from elsewhere, and a policy that forbids both. Findings
are grouped by rule with the true count of each and its first findings. The same run always gives the
same bytes. There is no PDF: the libraries that write one would add 55 MB (fpdf2 with Pillow and
fontTools) to the image, and every browser prints this page to PDF.
"""

import json
from typing import Any

from django.template.loader import render_to_string

from validibot.runs import wording
from validibot.runs.evidence import evidence_of
from validibot.runs.models import Run, with_images
from validibot.runs.models.runs import OutputValue
from validibot.runs.rules import findings_by_step

MAX_OUTPUT = 300


def as_html(run: Run) -> bytes:
    """Return the report of a run; one of a run that has not ended says so."""
    steps = with_images(
        run.steps.select_related("step__validator").prefetch_related("artifacts").order_by("order")
    )
    found = findings_by_step(steps)
    reported = [
        (each, found[each.pk], [_output(output) for output in each.output_values()])
        for each in steps
    ]
    has_evidence = run.ended_at is not None and bool(reported)
    context = {
        "run": run,
        "files": [run.submission, *run.submission.further_files],
        "steps": reported,
        "failed": next((each for each in reported if each[0].status == "FAILED"), None),
        "verdict": wording.verdict(run),
        "sentence": wording.verdict_sentence(run) if run.ended_at else "",
        "duration": wording.duration(run.duration_ms / 1000),
        "evidence": evidence_of(run) if has_evidence else None,
        "tone": run.result.lower() if run.ended_at else "unknown",
    }
    return render_to_string("runs/report.html", context).encode()


def _output(output: OutputValue) -> OutputValue:
    """Return an output whose value is a text of at most MAX_OUTPUT characters."""
    value: Any = output.value
    is_plain = isinstance(value, str | int | float)
    text = wording.figure(value) if is_plain else json.dumps(value, ensure_ascii=False)
    shown = text if len(text) <= MAX_OUTPUT else f"{text[: MAX_OUTPUT - 1]}…"
    return OutputValue(output.slug, output.label.replace("_", " "), shown, output.unit)
