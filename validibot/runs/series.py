"""Time series of a run as charts: the CSV files of EnergyPlus and of FMU simulations.

The first column is the time; a unit stands in brackets behind each title: `Fans:Electricity [J](Hourly)`
of EnergyPlus, `speed [m/s]` of an FMU. Only the columns that are drawn are read.
"""

import csv
import math
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from django.utils.dates import MONTHS_3
from django.utils.translation import gettext as _, gettext_lazy

from validibot.runs import wording
from validibot.runs.charts import MAX_PARTS, Chart, bar_chart, line_chart

SERIES = "timeseries-csv"
"""Type of an artifact with a time series."""

MAX_CHARTS = 4
MAX_COLUMNS = 500
_UNIT = re.compile(r"^(?P<name>.*?)\s*\[(?P<unit>[^\[\]]*)\](?P<interval>\([A-Za-z]*\))?$")
_DATE = re.compile(r"(\d\d)(?:/\d\d(?: \d\d:\d\d)?)?")
_JOULES_PER_KWH = 3.6e6
_LABELS = 5
_LARGEST = 1e300
# End uses by their name in meters of EnergyPlus (Input Output Reference, "Output:Meter").
_END_USES = {
    "Heating": gettext_lazy("Heating"),
    "Cooling": gettext_lazy("Cooling"),
    "InteriorLights": gettext_lazy("Interior lights"),
    "ExteriorLights": gettext_lazy("Exterior lights"),
    "InteriorEquipment": gettext_lazy("Interior equipment"),
    "ExteriorEquipment": gettext_lazy("Exterior equipment"),
    "Fans": gettext_lazy("Fans"),
    "Pumps": gettext_lazy("Pumps"),
    "HeatRejection": gettext_lazy("Heat rejection"),
    "Humidifier": gettext_lazy("Humidifier"),
    "HeatRecovery": gettext_lazy("Heat recovery"),
    "WaterSystems": gettext_lazy("Water systems"),
    "Refrigeration": gettext_lazy("Refrigeration"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a time series: its place, its title, and the title's name and unit."""

    place: int
    title: str
    name: str
    unit: str


def columns_of(header: Sequence[str]) -> list[Column]:
    """Return the columns behind the first, which is the time; at most MAX_COLUMNS."""
    found = []
    for place, title in enumerate(header[1 : MAX_COLUMNS + 1], start=1):
        match = _UNIT.match(title)
        name, unit = (match["name"], match["unit"]) if match else (title, "")
        if unit == "C" and match and match["interval"]:
            unit = "degC"  # of EnergyPlus; that of an FMU is a coulomb
        found.append(Column(place, title, name, unit))
    return found


def charts_of(
    lines: Iterable[str], *, chosen: Sequence[str] = ()
) -> tuple[list[Chart], list[Column]]:
    """Return the charts of a time series, and all its columns.

    `lines` is CSV. Without `chosen` titles the first columns of each unit are drawn.
    """
    rows = csv.reader(lines)
    try:
        header = next(rows, [])
    except csv.Error:
        header = []
    columns = columns_of(header)
    groups = _groups([each for each in columns if each.title in chosen] if chosen else columns)
    energy = _energy_columns(columns)
    wanted = {each.place for group in groups.values() for each in group} | set(energy)
    times, values = _read(rows, wanted)
    if len(times) < 2:
        return [], columns
    charts = [] if chosen else _monthly(times, energy, values)
    positions, ticks = _axis(times)
    for unit, group in groups.items():
        known = [each for each in group if any(map(math.isfinite, values[each.place]))]
        if known:
            drawn = [(each.name, values[each.place]) for each in known]
            title = (
                known[0].name
                if len(known) == 1
                else _("Values in %(unit)s") % {"unit": wording.unit(unit) or "1"}
            )
            charts.append(line_chart(title, wording.unit(unit), positions, drawn, x_ticks=ticks))
    return charts, columns


def _groups(columns: Iterable[Column]) -> dict[str, list[Column]]:
    """Return the columns that are drawn, by unit."""
    groups: dict[str, list[Column]] = {}
    for each in columns:
        if each.unit in groups or len(groups) < MAX_CHARTS:
            group = groups.setdefault(each.unit, [])
            if len(group) < MAX_PARTS:
                group.append(each)
    return groups


def _read(
    rows: Iterable[Sequence[str]], wanted: Iterable[int]
) -> tuple[list[str], dict[int, "array[float]"]]:
    times: list[str] = []
    values = {place: array("d") for place in wanted}
    with suppress(csv.Error):  # what follows a cell that is too long is not drawn
        for row in filter(None, rows):
            times.append(row[0])
            for place, column in values.items():
                column.append(_number(row[place]) if place < len(row) else math.nan)
    return times, values


def _number(text: str) -> float:
    """Return the value of a cell; NaN for one without a number, or with one too large to draw."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if abs(number) < _LARGEST else math.nan


def _axis(times: Sequence[str]) -> tuple[Sequence[float], list[tuple[float, str]]]:
    """Return the positions of times, and labels: the times themselves where they are no numbers."""
    numbers = [_number(each) for each in times]
    is_rising = all(before <= after for before, after in pairwise(numbers))
    positions = numbers if is_rising and numbers[0] < numbers[-1] else range(len(times))
    places = [round(number * (len(times) - 1) / (_LABELS - 1)) for number in range(_LABELS)]
    return positions, [(positions[each], times[each][:16]) for each in dict.fromkeys(places)]


def _energy_columns(columns: Iterable[Column]) -> dict[int, str]:
    """Return meters of end uses by place, each with its end use; without any those of fuels."""
    meters = [each for each in columns if each.unit == "J" and each.name.count(":") == 1]
    by_use = {each.place: each.name.split(":")[0] for each in meters}
    uses = {place: str(_END_USES[use]) for place, use in by_use.items() if use in _END_USES}
    fuels = {
        each.place: each.name.removesuffix(":Facility")
        for each in meters
        if each.name.endswith(":Facility")
    }
    return uses or fuels


def _monthly(
    times: Sequence[str], energy: Mapping[int, str], values: Mapping[int, Sequence[float]]
) -> list[Chart]:
    """Return the chart of energy by month, if the times are dates of months that follow each other.

    Those of design days, in winter and summer, do not.
    """
    dates = [_DATE.fullmatch(each) for each in times]
    months = sorted({int(each[1]) for each in dates if each} & set(MONTHS_3))
    is_period = len(months) > 1 and months[-1] - months[0] == len(months) - 1
    if not energy or not is_period or not all(dates):
        return []
    sums: dict[str, dict[int, float]] = {}
    for place, name in energy.items():
        by_month = sums.setdefault(name, dict.fromkeys(months, 0.0))
        for date, value in zip(dates, values[place], strict=True):
            if date and math.isfinite(value) and int(date[1]) in by_month:
                by_month[int(date[1])] += max(0.0, value) / _JOULES_PER_KWH
    used = {name: by_month for name, by_month in sums.items() if any(by_month.values())}
    largest = sorted(used, key=lambda name: -sum(used[name].values()))
    parts = [(name, list(used[name].values())) for name in largest[: MAX_PARTS - 1]]
    if others := largest[MAX_PARTS - 1 :]:
        rest = [sum(used[name][month] for name in others) for month in months]
        parts.append((_("Others"), rest))
    names = [str(MONTHS_3[month]).capitalize() for month in months]
    return [bar_chart(_("Energy by month"), "kWh", names, parts)] if parts else []
