"""Charts as SVG inside a page: lines over a common axis, and stacked bars.

`web/components/chart.html` draws them with classes of the style sheet, so that they follow the theme
and need neither script nor inline style. pygal, the maintained library for SVG, writes a `<style>` and
a `<script>` into each chart, which the content security policy forbids, and cannot follow the theme.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Self

from validibot.runs.wording import figure

# Size of the drawing, and the room for labels at its left and bottom, in its own units.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 260, 72, 12, 12, 30
# Lines or parts of a chart: the style sheet has so many colours.
MAX_PARTS = 6
# A line is drawn through the least and the greatest value of so many intervals.
INTERVALS = 320
_TICKS = 5
# Names below bars; of more bars some have none.
_BAR_LABELS = 12
_SMALLEST = 1e-300


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis with its label, which stands `first`, `middle` or `last` there."""

    at: float
    label: str
    side: str = "middle"


@dataclass(frozen=True, slots=True)
class ChartPart:
    """A line, or a part of each bar: its name, its shapes, and its figures for the table."""

    name: str
    low: str
    high: str
    # Points of each stretch without gaps, as `polyline` takes them.
    stretches: list[str] = field(default_factory=list)
    # x, y, width and height of bars, and what each one says.
    bars: list[tuple[float, float, float, float, str]] = field(default_factory=list)
    # Dashes tell lines apart for people who see no colours; in a line that goes up and down they blur.
    is_dense: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing of `WIDTH` times `HEIGHT` units; `label` of the axis of values is a unit.

    One of a `history` ends with the newest values, which a narrow screen shows first.
    """

    title: str
    label: str
    parts: list[ChartPart]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    is_history: bool = False

    width, height, left, bottom = WIDTH, HEIGHT, LEFT, HEIGHT - BOTTOM
    right = WIDTH - RIGHT

    def as_history(self) -> Self:
        """Return the chart marked as one that ends with the newest values."""
        return replace(self, is_history=True)


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis: values from `low` to `high` lie between two places of the drawing."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1)
        return round(self.start + share * (self.end - self.start), 1)


def line_chart(
    title: str,
    label: str,
    positions: Sequence[float],
    lines: Iterable[tuple[str, Sequence[float]]],
    *,
    x_ticks: Iterable[tuple[float, str]],
    span: tuple[float, float] | None = None,
) -> Chart:
    """Return a chart of lines; NaN is a gap. `positions` are those of the values, ascending.

    The axis of values has the round numbers that hold all values, or those of `span`.
    """
    shown = list(lines)[:MAX_PARTS]
    known = [value for _, values in shown for value in values if math.isfinite(value)]
    ticks = nice_ticks(*(span or (min(known, default=0), max(known, default=0))))
    across = Scale(positions[0], positions[-1], LEFT, WIDTH - RIGHT)
    up = Scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = []
    for name, values in shown:
        finite = [value for value in values if math.isfinite(value)]
        low, high = (short(each(finite)) if finite else "" for each in (min, max))
        stretches = list(_stretches(positions, values, across, up))
        is_dense = len(values) > INTERVALS
        parts.append(ChartPart(name, low, high, stretches=stretches, is_dense=is_dense))
    below = [Tick(across.at(at), text) for at, text in x_ticks]
    if len(below) > 1:
        below[0], below[-1] = replace(below[0], side="first"), replace(below[-1], side="last")
    return Chart(title, label, parts, below, [Tick(up.at(each), short(each)) for each in ticks])


def bar_chart(
    title: str, label: str, names: Sequence[str], parts: Iterable[tuple[str, Sequence[float]]]
) -> Chart:
    """Return a chart with a stacked bar for each name; values are not negative."""
    shown = list(parts)[:MAX_PARTS]
    totals = [sum(values[index] for _, values in shown) for index in range(len(names))]
    ticks = nice_ticks(0, max(totals, default=0))
    up = Scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    step = (WIDTH - RIGHT - LEFT) / max(1, len(names))
    bases = [0.0] * len(names)
    drawn = []
    for part, values in shown:
        bars = []
        for index, value in enumerate(values):
            top, foot = up.at(bases[index] + value), up.at(bases[index])
            x = round(LEFT + step * (index + 0.15), 1)
            said = f"{names[index]}, {part}: {short(value)} {label}"
            bars.append((x, top, round(step * 0.7, 1), round(foot - top, 1), said))
            bases[index] += value
        low, high = short(min(values)), short(max(values))
        drawn.append(ChartPart(part, low, high, bars=bars, is_dense=True))
    every = math.ceil(len(names) / _BAR_LABELS)
    x_ticks = [
        Tick(round(LEFT + step * (index + 0.5), 1), names[index])
        for index in range(0, len(names), max(1, every))
    ]
    return Chart(title, label, drawn, x_ticks, [Tick(up.at(each), short(each)) for each in ticks])


def short(value: float) -> str:
    """Return a number in few characters: `87.6 M`."""
    for size, sign in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if size <= abs(value) < 1e15:
            return f"{value / size:.4g} {sign}"
    return figure(value) if abs(value) < 1e15 else f"{value:.3g}"


def nice_ticks(low: float, high: float) -> list[float]:
    """Return round numbers, at least two, between which all values lie."""
    size = max(abs(low), abs(high))
    if high - low <= max(size * 1e-12, _SMALLEST):
        half = size / 2 if size > _SMALLEST else 0.5
        low, high = low - half, high + half
    rough = (high - low) / _TICKS
    exponent = math.floor(math.log10(rough))
    power = 10.0**exponent
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 6 - exponent) for number in range(first, last + 1)]


def _stretches(
    positions: Sequence[float], values: Sequence[float], across: Scale, up: Scale
) -> Iterator[str]:
    """Yield the points of a line, interrupted where a value is missing; a lone one as a dash."""
    shown = _drawn(values)
    for is_there, stretch in groupby(shown, lambda index: math.isfinite(values[index])):
        if is_there:
            points = [(across.at(positions[index]), up.at(values[index])) for index in stretch]
            if len(points) == 1:
                ((x, y),) = points
                points = [(x - 5, y), (x + 5, y)]
            yield " ".join(f"{x},{y}" for x, y in points)


def _drawn(values: Sequence[float]) -> Iterator[int]:
    """Yield the indexes of the values that are drawn: the least and the greatest of each interval."""
    if len(values) <= 2 * INTERVALS:
        yield from range(len(values))
        return
    size = len(values) / INTERVALS
    for interval in range(INTERVALS):
        inside = range(round(interval * size), round((interval + 1) * size))
        finite = [index for index in inside if math.isfinite(values[index])]
        if finite:
            yield from sorted(
                {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
            )
        else:
            yield inside[0]
