"""The looks of a report as PDF: font, styles, tables, charts and page numbers.

All texts are data: markup in them is escaped. Chinese, Japanese and Korean characters are left to the fonts
of the reader's program; another character that the font lacks is a box.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import override

from django.utils.translation import gettext as _
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Table, TableStyle

from validibot.runs.charts import Chart, ChartPart

MARGIN = 18 * mm
# Frames of reportlab have a padding of six points.
_LEFT, _BOTTOM = MARGIN + 6, 10 * mm
WIDTH = A4[0] - 2 * _LEFT
# Longest text of a paragraph.
MAX_CHARACTERS, MAX_LINES = 600, 12
FONT = "DejaVuSans"
_BOX = "\u25a1"
# Chinese, Japanese and Korean characters of the first plane, which is what those fonts take.
_EAST_ASIAN = re.compile(
    "[\u1100-\u11ff\u2e80-\u2fdf\u3000-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff01-\uffe6]+"
)
_TELLING = re.compile("(?P<kana>[\u3040-\u30ff])|[\u1100-\u11ff\uac00-\ud7a3]")
_TOTAL = "total"

INK, MUTED, LINE = HexColor("#16211f"), HexColor("#5d6b68"), HexColor("#dfe6e4")
# Colours and dashes of the parts of a chart, as `report.css` has them.
_COLOURS = [
    HexColor(colour)
    for colour in ("#0f766e", "#2563a8", "#9a4807", "#6d3bb3", "#b42318", "#5d6b68")
]
_DASHES: list[list[float]] = [[], [7, 3], [2, 2], [], [9, 3, 2, 3], [4, 4]]

BODY = ParagraphStyle("body", fontName=FONT, fontSize=9, leading=13, textColor=INK, spaceAfter=3)
QUIET = ParagraphStyle("quiet", BODY, fontSize=8, leading=11, textColor=MUTED)
TITLE = ParagraphStyle("title", BODY, fontSize=17, leading=22, spaceAfter=6)
STEP = ParagraphStyle("step", BODY, fontSize=13, leading=17, spaceBefore=14, keepWithNext=1)
PART = ParagraphStyle("part", BODY, textColor=MUTED, spaceBefore=7, keepWithNext=1)
RULE = ParagraphStyle("rule", BODY, spaceBefore=4)
FINDING = ParagraphStyle("finding", BODY, leftIndent=14, bulletIndent=4)
_TONES = {
    "pass": ("#146c35", "#e6f4ea"),
    "fail": ("#b42318", "#fdecea"),
    "error": ("#6d3bb3", "#f1eafb"),
    "timed_out": ("#6d3bb3", "#f1eafb"),
}
SEVERITIES = {"ERROR": "#b42318", "WARNING": "#9a4807", "INFO": "#2563a8"}


@cache
def _characters() -> frozenset[int]:
    """Register the font, and return the characters that it has."""
    font = TTFont(FONT, Path(__file__).with_name("fonts") / f"{FONT}.ttf")
    pdfmetrics.registerFont(font)
    return frozenset(font.face.charToGlyph)


def shown(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return at most `limit` characters of a text, each of which the font has."""
    return _EAST_ASIAN.sub(lambda found: _BOX * len(found[0]), _known(text, limit))


def markup(text: str) -> str:
    """Return a text, which is data, as markup of a paragraph."""
    lines = _known(text, MAX_CHARACTERS).split("\n")
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], "…"]
    found = "<br/>".join(map(escape, lines))
    if not _EAST_ASIAN.search(found):
        return found
    font = _east_asian_font(found)
    return _EAST_ASIAN.sub(lambda part: f'<font name="{font}">{part[0]}</font>', found)


def _known(text: str, limit: int) -> str:
    """Return at most `limit` characters; one that neither the font nor a reader's fonts have is a box."""
    known = _characters()
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    spaced = (" " if each.isspace() and each not in "\n\xa0\u3000" else each for each in cut)
    return "".join(
        each if each == "\n" or ord(each) in known or _EAST_ASIAN.match(each) else _BOX
        for each in spaced
    )


def _east_asian_font(text: str) -> str:
    """Return the font of a text's East Asian characters, by the script that tells its language."""
    script = _TELLING.search(text)
    name = "STSong-Light"
    if script:
        name = "HeiseiKakuGo-W5" if script["kana"] else "HYGothic-Medium"
    _register_east_asian(name)
    return name


@cache
def _register_east_asian(name: str) -> None:
    """Register one of the fonts that PDF names without having them: each reader has its own for it.

    These are the character collections of https://adobe-type-tools.github.io/cmap-resources/.
    """
    pdfmetrics.registerFont(UnicodeCIDFont(name))


def digest(sha256: str) -> str:
    """Return a digest as markup that fits on a line."""
    return f'<font size="8">SHA-256 {escape(sha256)}</font>'


def verdict_style(tone: str) -> ParagraphStyle:
    """Return the style of the box with the verdict."""
    ink, ground = _TONES.get(tone, ("#5d6b68", "#f1f4f3"))
    return ParagraphStyle(
        "verdict",
        BODY,
        fontSize=11,
        leading=16,
        backColor=HexColor(ground),
        borderColor=HexColor(ink),
        borderWidth=0.8,
        borderPadding=8,
        spaceBefore=10,
        spaceAfter=14,
    )


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Return a table of names and values; the values are markup."""
    cells = [[Paragraph(markup(name), BODY), Paragraph(value, BODY)] for name, value in rows]
    return _table(cells, [38 * mm, WIDTH - 38 * mm])


def legend(chart: Chart) -> Table:
    """Return the table below a chart: its parts with their least and greatest values."""
    values = _("Values in %(unit)s") % {"unit": chart.label} if chart.label else _("Values")
    head = [Paragraph(markup(each), QUIET) for each in (values, _("Least"), _("Greatest"))]
    rows = [head]
    for part, colour in zip(chart.parts, _COLOURS, strict=False):
        key = f'<font color="{colour.hexval().replace("0x", "#")}">\u25a0</font> '
        texts = (key + markup(part.name), markup(part.low), markup(part.high))
        rows.append([Paragraph(each, QUIET) for each in texts])
    return _table(rows, [WIDTH - 60 * mm, 30 * mm, 30 * mm])


def _table(rows: Sequence[list[Paragraph]], widths: Sequence[float]) -> Table:
    style = TableStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 1),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
            ("LINEBELOW", (0, 0), (-1, -1), 0.4, LINE),
        ]
    )
    return Table(rows, colWidths=widths, style=style, spaceAfter=8)


class ChartDrawing(Flowable):
    """A chart as wide as the text."""

    def __init__(self, chart: Chart) -> None:
        super().__init__()
        self._chart = chart
        self._scale = WIDTH / chart.width
        self.width, self.height = WIDTH, chart.height * self._scale

    def draw(self) -> None:
        canvas: Canvas = self.canv
        canvas.scale(self._scale, self._scale)
        self._draw_axes(canvas)
        for part, colour, dash in zip(self._chart.parts, _COLOURS, _DASHES, strict=False):
            canvas.setStrokeColor(colour)
            canvas.setFillColor(colour)
            canvas.setDash([] if part.is_dense else dash)
            self._draw_part(canvas, part)

    def _draw_axes(self, canvas: Canvas) -> None:
        chart = self._chart
        canvas.setStrokeColor(LINE)
        canvas.setFillColor(MUTED)
        canvas.setFont(FONT, 11)
        for tick in chart.y_ticks:
            at = chart.height - tick.at
            canvas.line(chart.left, at, chart.right, at)
            canvas.drawRightString(chart.left - 8, at - 4, shown(tick.label, 20))
        write = {"first": canvas.drawString, "last": canvas.drawRightString}
        for tick in chart.x_ticks:
            write.get(tick.side, canvas.drawCentredString)(tick.at, 8, shown(tick.label, 20))

    def _draw_part(self, canvas: Canvas, part: ChartPart) -> None:
        top = self._chart.height
        canvas.setLineWidth(1.6)
        for stretch in part.stretches:
            points = [point.split(",") for point in stretch.split()]
            path = canvas.beginPath()
            path.moveTo(float(points[0][0]), top - float(points[0][1]))
            for x, y in points[1:]:
                path.lineTo(float(x), top - float(y))
            canvas.drawPath(path)
        for left, upper, width, height, _said in part.bars:
            canvas.rect(left, top - upper - height, width, height, stroke=0, fill=1)


class NumberingCanvas(Canvas):
    """Canvas whose pages say how many there are, which is known at the end."""

    def draw_number(self, name: str) -> None:
        """Write the number of the page, and the name of the run, below the page."""
        before, _after = _number_of_page(self.getPageNumber())
        self.setFillColor(MUTED)
        self.setFont(FONT, 8)
        self.drawRightString(A4[0] - _LEFT, _BOTTOM, name)
        self.drawString(_LEFT, _BOTTOM, before)
        self.saveState()
        self.translate(_LEFT + pdfmetrics.stringWidth(before, FONT, 8), _BOTTOM)
        self.doForm(_TOTAL)
        self.restoreState()

    def save(self) -> None:
        total = self.getPageNumber() - 1
        self.beginForm(_TOTAL, 0, -4, 60 * mm, 12)
        self.setFillColor(MUTED)
        self.setFont(FONT, 8)
        self.drawString(0, 0, f"{total}{_number_of_page(total)[1]}")
        self.endForm()
        super().save()


def _number_of_page(number: int) -> tuple[str, str]:
    """Return what stands before the total of pages, and what behind it."""
    text = shown(_("Page %(number)s of %(total)s") % {"number": number, "total": "\n"})
    before, _total, after = text.partition("\n")
    return before, after


class ReportDocument(SimpleDocTemplate):
    """A document of pages with numbers, whose outline has the steps."""

    _headings = 0

    @override
    def afterFlowable(self, flowable: Flowable) -> None:
        if isinstance(flowable, Paragraph) and flowable.style.name == STEP.name:
            self._headings += 1
            key = f"step-{self._headings}"
            self.canv.bookmarkPage(key)
            self.canv.addOutlineEntry(flowable.getPlainText(), key)
