"""The report of a run as PDF: the content of the HTML report, in bounded size, for filing and mailing.

DejaVu Sans has Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew and Arabic letters and many signs; Chinese,
Japanese and Korean is shown by the fonts of the reader's program, and the scripts of South and South-East
Asia are boxes. Letters stand from left to right in the order in which they
are read, and are not joined; the HTML report shows all scripts as they are written. The same run always
gives the same bytes: the only times are the run's own.
"""

import io
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import get_language, gettext as _, ngettext
from reportlab.lib.pagesizes import A4
from reportlab.platypus import Flowable, KeepTogether, Paragraph

from validibot.core.words import word_of
from validibot.runs.models import Finding, Run
from validibot.runs.pdf_layout import (
    BODY,
    FINDING,
    MARGIN,
    PART,
    QUIET,
    RULE,
    SEVERITIES,
    STEP,
    TITLE,
    ChartDrawing,
    NumberingCanvas,
    ReportDocument,
    digest,
    facts,
    legend,
    markup,
    shown,
    verdict_style,
)
from validibot.runs.report import ReportedStep, RunReport, SeriesCharts, report_of
from validibot.runs.rules import RuleFindings

# Limits of a report, however much the run has; sentences say how much is left out.
MAX_RULES, MAX_FINDINGS, MAX_OUTPUTS, MAX_FILES = 200, 300, 300, 200
# reportlab's fonts must not be used for two documents at once.
_LOCK = threading.Lock()


def as_pdf(run: Run) -> bytes:
    """Return the report of a run as PDF 1.4. Raises StorageError."""
    report = report_of(run)
    moment = (run.ended_at or run.created_at).astimezone(UTC)
    with _LOCK:
        return _written(report, moment)


def _written(report: RunReport, moment: datetime) -> bytes:
    output = io.BytesIO()
    run = report.run
    name = shown(run.submission.shown_filename, 60).replace("\n", " ")
    document = ReportDocument(
        output,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=f"{report.verdict}: {name}",
        author="Validibot",
        creator="Validibot",
        subject=shown(f"{run.workflow.name} {run.workflow.version}"),
        keywords=[str(run.pk)],
        lang=get_language() or "en",
        displayDocTitle=True,
        invariant=1,
    )

    def begin_page(canvas: Any, _document: Any) -> None:
        canvas.setDateFormatter(lambda *_: f"D:{moment:%Y%m%d%H%M%S}+00'00'")
        canvas.draw_number(f"{name} · {run.pk}")

    document.build(
        ReportStory(report).flowables(),
        onFirstPage=begin_page,
        onLaterPages=begin_page,
        canvasmaker=NumberingCanvas,
    )
    return output.getvalue()


class ReportStory:
    """The paragraphs, tables and charts of a report, and how many of each it may still have."""

    def __init__(self, report: RunReport) -> None:
        self._report = report
        self._rules, self._findings = MAX_RULES, MAX_FINDINGS
        self._outputs, self._files = MAX_OUTPUTS, MAX_FILES

    def flowables(self) -> list[Flowable]:
        """Return everything in its order."""
        steps = [each for step in self._report.steps for each in self._step(step)]
        return [*self._beginning(), *self._left_out(), *steps, *self._evidence()]

    def _beginning(self) -> Iterator[Flowable]:
        report, run = self._report, self._report.run
        version = _("version %(number)s") % {"number": run.workflow.version}
        yield Paragraph(f"{markup(run.workflow.name)} · {markup(version)}", QUIET)
        yield Paragraph(markup(run.submission.shown_name), TITLE)
        if run.submission.short_description:
            yield Paragraph(markup(run.submission.short_description), BODY)
        lines = [report.sentence or _("The run had not ended.")]
        if failed := report.failed:
            place = _("Step %(order)s %(name)s") % {
                "order": failed.step.order,
                "name": failed.step.name,
            }
            lines.append(f"{place}: {failed.found.reason or failed.step.error}")
        heading = f'<font size="14">{markup(report.verdict)}</font>'
        yield Paragraph("<br/>".join([heading, *map(markup, lines)]), verdict_style(report.tone))
        yield facts(self._facts())

    def _facts(self) -> Iterator[tuple[str, str]]:
        report, run = self._report, self._report.run
        yield _("Run"), markup(str(run.pk))
        yield _("Started"), markup(_moment(run.created_at))
        if run.ended_at:
            yield _("Ended"), markup(f"{_moment(run.ended_at)} ({report.duration})")
        for order, file in enumerate(report.files[:MAX_FILES]):
            size = filesizeformat(file.size_bytes)
            yield (
                _("Further file") if order else _("Submitted file"),
                f"{markup(f'{file.shown_filename}, {size}')}<br/>{digest(file.sha256)}",
            )

    def _left_out(self) -> Iterator[Flowable]:
        """Yield the sentence about findings that are left out; the steps are written before."""
        total = sum(each.found.count for each in self._report.steps)
        left_out = total - (MAX_FINDINGS - self._findings)
        if left_out > 0:
            text = ngettext(
                "%(count)s of %(total)s findings is left out here.",
                "%(count)s of %(total)s findings are left out here.",
                left_out,
            )
            counted = text % {"count": f"{left_out:,}", "total": f"{total:,}"}
            further = _("The exports of the run as CSV and JSON Lines have all of them.")
            yield Paragraph(markup(f"{counted} {further}"), BODY)

    def _step(self, reported: ReportedStep) -> Iterator[Flowable]:
        step, found = reported.step, reported.found
        yield Paragraph(markup(f"{step.order}. {step.name}: {word_of(step.status)}"), STEP)
        about = [f"{step.validator} {step.validator_version}", found.totals]
        if step.weather_name:
            about.append(f"{_('Weather')} {step.weather_name}")
        if image_digest := getattr(step, "image_digest", ""):  # annotated by with_images
            about.append(f"{step.image} {image_digest}")
        yield Paragraph(markup(" · ".join(filter(None, about))), QUIET)
        for text in filter(None, (step.error, *found.notes)):
            yield Paragraph(markup(text), BODY)
        yield from self._findings_of(found.rules)
        yield from self._outputs_of(reported)
        for series in reported.series:
            yield from _charts(series)
        if number := reported.further_series:
            text = ngettext(
                "%(number)s further time series is not drawn.",
                "%(number)s further time series are not drawn.",
                number,
            )
            yield Paragraph(markup(text % {"number": number}), QUIET)
        yield from self._artifacts_of(reported)

    def _findings_of(self, rules: Sequence[RuleFindings]) -> Iterator[Flowable]:
        if rules:
            yield Paragraph(markup(_("Findings by rule")), PART)
        for rule in rules[: self._rules]:
            yield from self._rule(rule)
        left_out = rules[self._rules :]
        self._rules -= len(rules) - len(left_out)
        if left_out:
            text = ngettext(
                "%(rules)s further rule with findings: %(count)s",
                "%(rules)s further rules with findings: %(count)s",
                len(left_out),
            )
            count = sum(each.count for each in left_out)
            yield _paragraph(text, QUIET, rules=f"{len(left_out):,}", count=f"{count:,}")

    def _rule(self, found: RuleFindings) -> Iterator[Flowable]:
        code = _("all further rules together") if found.rule.code is None else found.rule.code
        severity = f'<font color="{SEVERITIES[found.severity]}">{word_of(found.severity)}</font>'
        parts = [severity, f"{found.count:,}", *([markup(code)] if code else [])]
        heading = Paragraph(" · ".join(parts), RULE)
        listed = [_finding(each) for each in found.shown[: self._findings]]
        self._findings -= len(listed)
        yield KeepTogether([heading, *listed[:1]])
        yield from listed[1:]
        further = found.count - len(listed)
        if listed and further:
            yield _paragraph(_("and %(count)s more"), FINDING, count=f"{further:,}")

    def _outputs_of(self, reported: ReportedStep) -> Iterator[Flowable]:
        listed = reported.outputs[: self._outputs]
        self._outputs -= len(listed)
        if reported.outputs:
            yield Paragraph(markup(_("Outputs")), PART)
        if listed:
            yield facts(
                (each.label, markup(f"{each.value} {each.unit}".rstrip())) for each in listed
            )
        if further := len(reported.outputs) - len(listed):
            yield _paragraph(_("and %(count)s more"), QUIET, count=f"{further:,}")

    def _artifacts_of(self, reported: ReportedStep) -> Iterator[Flowable]:
        listed = reported.artifacts[: self._files]
        self._files -= len(listed)
        if reported.artifacts:
            yield Paragraph(markup(_("Artifacts")), PART)
        if listed:
            yield facts(
                (each.name, f"{markup(filesizeformat(each.size_bytes))}<br/>{digest(each.sha256)}")
                for each in listed
            )
        if further := len(reported.artifacts) - len(listed):
            yield _paragraph(_("and %(count)s more"), QUIET, count=f"{further:,}")

    def _evidence(self) -> Iterator[Flowable]:
        evidence = self._report.evidence
        if evidence is None:
            return
        yield Paragraph(markup(_("Evidence")), STEP)
        yield facts(
            [
                (_("Manifest"), digest(evidence.manifest_sha256)),
                (_("Contents"), digest(evidence.contents_sha256)),
            ]
        )
        how = _("The evidence bundle of the run is verified against the digest of the contents:")
        command = f"manage.py verify_evidence run-{self._report.run.pk}.zip --digest"
        yield Paragraph(markup(f"{how} {command} {evidence.contents_sha256}"), QUIET)


def _finding(finding: Finding) -> Paragraph:
    place = [finding.path[:300]] if finding.path else []
    if finding.line:
        place.append(f"{_('line')}\xa0{finding.line}")
    if finding.line and finding.column:
        place.append(f"{_('column')}\xa0{finding.column}")
    quiet = f' <font size="8" color="#5d6b68">{markup(", ".join(place))}</font>' if place else ""
    return Paragraph(markup(finding.message) + quiet, FINDING, bulletText="•")


def _charts(series: SeriesCharts) -> Iterator[Flowable]:
    named = {"name": series.name}
    for order, chart in enumerate(series.charts):
        heading = [] if order else [_paragraph(_("Time series of %(name)s"), PART, **named)]
        title = Paragraph(markup(chart.title), BODY)
        yield KeepTogether([*heading, title, ChartDrawing(chart), legend(chart)])
    if not series.is_kept:
        yield _paragraph(
            _("%(name)s is not kept any more, so that it is not drawn."), QUIET, **named
        )
    elif series.is_cut:
        text = _("Only the beginning of %(name)s is drawn: the file is too large.")
        yield _paragraph(text, QUIET, **named)


def _paragraph(text: str, style: Any, **values: str) -> Paragraph:
    return Paragraph(markup(text % values), style)


def _moment(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "j M Y H:i:s T")
