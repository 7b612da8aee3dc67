"""Charts of time series: what is drawn, in bounded size, and monthly energy."""

import math

import pytest

from validibot.runs.charts import INTERVALS, line_chart, nice_ticks
from validibot.runs.series import charts_of
from validibot.runs.wording import unit

HOURLY = "Date/Time,Zone:Mean Air Temperature [C](Hourly),Heating:NaturalGas [J](Hourly),Fans:Electricity [J](Hourly)"


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (-3.2, 4.1, [-4, -2, 0, 2, 4, 6]),
        (5, 5, [2, 3, 4, 5, 6, 7, 8]),
        (0, 1e-13, [0, 2e-14, 4e-14, 6e-14, 8e-14, 1e-13]),
        (0, 0, [-0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6]),
    ],
)
def test_ticks_are_round_and_hold_all_values(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == ticks


@pytest.mark.parametrize(("low", "high"), [(1e15, 1e15 + 0.5), (-1e299, 1e299), (0, 5e-324)])
def test_ticks_of_extreme_values_are_few(low: float, high: float) -> None:
    assert 2 <= len(nice_ticks(low, high)) <= 8


def test_axis_of_rates_ends_at_100() -> None:
    chart = line_chart("Rate", "%", range(2), [("rate", [100, 100])], x_ticks=[], span=(0, 100))

    assert [tick.label for tick in chart.y_ticks] == ["0", "20", "40", "60", "80", "100"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("", ""),
        ("%", "%"),
        ("C", "C"),
        ("degC", "°C"),
        ("kWh/m²", "kWh/m²"),
        ("m3/s", "m³/s"),
        ("W/m2-K", "W/(m²·K)"),
        ("W/(m2.K)", "W/(m²·K)"),
        ("s-1", "s⁻¹"),
        ("kgCO2/m2", "kgCO2/m²"),
        ("kgWater/kgDryAir", "kgWater/kgDryAir"),
    ],
)
def test_unit_is_shown_in_proper_signs(written: str, shown: str) -> None:
    assert unit(written) == shown


def test_long_line_is_drawn_with_its_peaks() -> None:
    values = [0.0] * 50_000
    values[31_234] = 7.0

    [line] = line_chart("Speed", "m/s", range(50_000), [("speed", values)], x_ticks=[]).parts

    [points] = line.stretches
    heights = {point.split(",")[1] for point in points.split()}
    assert (len(points.split()) <= 2 * INTERVALS, len(heights)) == (True, 2)
    assert (line.low, line.high) == ("0", "7")


def test_missing_value_interrupts_the_line() -> None:
    values = [1.0, math.nan, 2.0, 3.0]

    [line] = line_chart("Speed", "m/s", range(4), [("speed", values)], x_ticks=[]).parts

    assert [len(stretch.split()) for stretch in line.stretches] == [2, 2]


def test_series_has_a_chart_for_each_unit_and_monthly_energy() -> None:
    rows = [f"{month:02}/15 01:00,{month},7200000,3600000" for month in range(1, 13)]

    (energy, temperature, power), columns = charts_of([f"{line}\n" for line in (HOURLY, *rows)])

    assert [each.unit for each in columns] == ["degC", "J", "J"]
    assert (energy.title, energy.label) == ("Energy by month", "kWh")
    assert [(part.name, part.high) for part in energy.parts] == [("Heating", "2"), ("Fans", "1")]
    assert energy.parts[0].bars[1][4] == "Feb, Heating: 2 kWh"
    assert len(energy.x_ticks) == 12
    assert (temperature.title, temperature.label) == ("Zone:Mean Air Temperature", "°C")
    assert [part.name for part in power.parts] == ["Heating:NaturalGas", "Fans:Electricity"]
    assert temperature.x_ticks[0].label == "01/15 01:00"


def test_design_days_have_no_energy_by_month() -> None:
    rows = ["12/21 01:00,1,2,3\n", "07/21 01:00,1,2,3\n"]

    charts, _ = charts_of([f"{HOURLY}\n", *rows])

    assert [chart.label for chart in charts] == ["°C", "J"]


def test_numbers_in_the_first_column_place_the_values() -> None:
    lines = ["time [s],speed [m/s]\n", "0,1\n", "1,2\n", "10,3\n"]

    ([chart], _) = charts_of(lines)

    places = [float(point.split(",")[0]) for point in chart.parts[0].stretches[0].split()]
    assert places[1] - places[0] < (places[2] - places[1]) / 8


def test_chosen_columns_are_drawn_instead() -> None:
    lines = ["time [s],a [m],b [m],c [K]\n", "0,1,2,3\n", "1,2,3,x\n"]

    ([chart], _) = charts_of(lines, chosen=["b [m]", "unknown"])

    assert [part.name for part in chart.parts] == ["b"]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["\n"],
        ["time [s]\n", "1\n", "2\n"],
        ["time [s],a [m]\n", "1,2\n"],
        ["time [s],a [m]\n", "1,x\n", "2\n", "\n"],
        ["time [s],a [m]\n", "nan,inf\n", "inf,1e308\n"],
        [f"{'x' * 10_000_000}\n"],
        ["time [s],a [m]\n", "1,2\n", f"2,{'x' * 10_000_000}\n"],
    ],
)
def test_series_without_values_has_no_charts(lines: list[str]) -> None:
    assert charts_of(lines)[0] == []
