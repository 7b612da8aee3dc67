"""Plots of benchmarks as SVG files that need no style sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from validibot.runs.charts import HEIGHT, LEFT, WIDTH, Chart, line_chart

_COLOURS = ("#0f766e", "#b45309", "#7c3aed", "#be123c", "#1d4ed8", "#4b5563")
_ROW = 18


@dataclass(frozen=True, slots=True)
class PlotLine:
    """A line of a plot: its name, and a value for each place on the axis."""

    name: str
    values: Sequence[float]


def draw(title: str, places: Sequence[str], lines: Sequence[PlotLine]) -> str:
    """Return an SVG of the lines over places that have the same distance, with a legend below."""
    chart = line_chart(
        title,
        "ms",
        range(len(places)),
        # The axis of values begins at 0.
        [*((line.name, line.values) for line in lines), ("", [0.0] * len(places))],
        x_ticks=list(enumerate(places)),
    )
    height = HEIGHT + _ROW * (len(lines) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {-_ROW} {WIDTH} {height}">',
        '<g font-family="sans-serif" font-size="12">',
        f'<rect y="{-_ROW}" width="{WIDTH}" height="{height}" fill="#fff" />',
        f'<text x="{LEFT}" y="0" font-weight="bold">{escape(title)}</text>',
        *_axes(chart),
    ]
    for number, (line, part) in enumerate(zip(lines, chart.parts, strict=False)):
        colour, y = _COLOURS[number], HEIGHT + _ROW * (number + 1)
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" />'
            for points in part.stretches
        ]
        parts.append(f'<rect x="{LEFT}" y="{y - 9}" width="20" height="4" fill="{colour}" />')
        values = ", ".join(f"{value:.0f}" for value in line.values)
        parts.append(f'<text x="{LEFT + 28}" y="{y - 3}">{escape(line.name)}: {values} ms</text>')
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _axes(chart: Chart) -> list[str]:
    lines = []
    for tick in chart.y_ticks:
        lines.append(
            f'<line x1="{LEFT}" x2="{chart.right}" y1="{tick.at}" y2="{tick.at}" stroke="#d4d4d8" />'
        )
        lines.append(
            f'<text x="{LEFT - 8}" y="{tick.at + 4}" text-anchor="end">{tick.label}</text>'
        )
    anchors = {"first": "start", "middle": "middle", "last": "end"}
    for tick in chart.x_ticks:
        anchor = anchors[tick.side]
        lines.append(
            f'<text x="{tick.at}" y="{chart.height - 8}" text-anchor="{anchor}">{tick.label}</text>'
        )
    return lines
