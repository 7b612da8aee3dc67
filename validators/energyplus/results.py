"""Metrics and hourly series from the engine's SQLite output."""

import csv
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from validibot_shared.energyplus.models import EnergyPlusSimulationMetrics

_KWH_PER_GJ = 1e3 / 3.6
_KWH_PER_J = 1 / 3.6e6
_DESIGN_DAY = 1
_WEATHER_RUN = 3
_COLUMN_LIMIT = 200

_OTHER_FUELS = (
    "Gasoline",
    "Diesel",
    "Coal",
    "Fuel Oil No 1",
    "Fuel Oil No 2",
    "Propane",
    "Other Fuel 1",
    "Other Fuel 2",
)
_FUELS = (
    "Electricity",
    "Natural Gas",
    "District Cooling",
    "District Heating Water",
    "District Heating Steam",
    *_OTHER_FUELS,
)
_ANNUAL = "AnnualBuildingUtilityPerformanceSummary"
_UNMET = "Time Setpoint Not Met During Occupied "

type Table = dict[tuple[str, str], float]


@contextmanager
def open_results(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the database read-only."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        yield connection


def read_metrics(results: sqlite3.Connection) -> EnergyPlusSimulationMetrics:
    """Return the metrics of the year; without a weather run only the area."""
    area = _table(results, _ANNUAL, "Building Area").get(("Net Conditioned Building Area", "Area"))
    if not _has_weather_run(results):
        return EnergyPlusSimulationMetrics(simulated_conditioned_area_m2=area)
    uses = _table(results, _ANNUAL, "End Uses")
    unmet = _table(results, _ANNUAL, "Comfort and Setpoint Not Met Summary")
    demand = _table(results, "DemandEndUseComponentsSummary", "End Uses")
    site = _sum(uses, "Total End Uses", *_FUELS)
    return EnergyPlusSimulationMetrics(
        site_electricity_kwh=_sum(uses, "Total End Uses", "Electricity"),
        site_natural_gas_kwh=_sum(uses, "Total End Uses", "Natural Gas"),
        site_district_cooling_kwh=_sum(uses, "Total End Uses", "District Cooling"),
        site_district_heating_kwh=_sum(
            uses, "Total End Uses", "District Heating Water", "District Heating Steam"
        ),
        site_other_fuels_kwh=_sum(uses, "Total End Uses", *_OTHER_FUELS),
        site_eui_kwh_m2=site / area if site is not None and area else None,
        heating_energy_kwh=_sum(uses, "Heating", *_FUELS),
        cooling_energy_kwh=_sum(uses, "Cooling", *_FUELS),
        interior_lighting_kwh=_sum(uses, "Interior Lighting", *_FUELS),
        fans_energy_kwh=_sum(uses, "Fans", *_FUELS),
        pumps_energy_kwh=_sum(uses, "Pumps", *_FUELS),
        water_systems_kwh=_sum(uses, "Water Systems", *_FUELS),
        unmet_heating_hours=unmet.get((f"{_UNMET}Heating", "Facility")),
        unmet_cooling_hours=unmet.get((f"{_UNMET}Cooling", "Facility")),
        peak_electric_demand_w=demand.get(("Total End Uses", "Electricity")),
        simulated_conditioned_area_m2=area,
        window_heat_gain_kwh=_run_total(results, "Zone Windows Total Heat Gain Energy"),
        window_heat_loss_kwh=_run_total(results, "Zone Windows Total Heat Loss Energy"),
        window_transmitted_solar_kwh=_run_total(
            results, "Enclosure Windows Total Transmitted Solar Radiation Energy"
        ),
    )


def write_hourly_csv(results: sqlite3.Connection, target: Path) -> bool:
    """Write the hourly variables as columns; return False if there are none.

    The rows are the hours of the weather runs, or else of the design days.
    """
    columns = results.execute(
        "SELECT ReportDataDictionaryIndex, coalesce(KeyValue || ':', '') || Name"
        " || ' [' || Units || '](Hourly)' FROM ReportDataDictionary"
        " WHERE ReportingFrequency = 'Hourly' ORDER BY 1 LIMIT ?",
        (_COLUMN_LIMIT,),
    ).fetchall()
    if not columns:
        return False
    rows = _rows(results, {index: place for place, (index, _) in enumerate(columns, start=1)})
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Date/Time", *(title for _, title in columns)])
        writer.writerows(rows)
    return True


def _rows(results: sqlite3.Connection, places: dict[int, int]) -> Iterable[list[str | float]]:
    """Return the rows of the table, joined here: the database has no index for it."""
    hours: dict[int, list[str | float]] = {
        moment: [label, *[""] * len(places)]
        for moment, label in results.execute(
            "SELECT t.TimeIndex, printf('%02d/%02d %02d:00', t.Month, t.Day, t.Hour) FROM Time t"
            " JOIN EnvironmentPeriods e USING (EnvironmentPeriodIndex)"
            " WHERE e.EnvironmentType = ? AND t.IntervalType = 1 AND t.Interval = 60"
            " AND ifnull(t.WarmupFlag, 0) = 0 ORDER BY t.TimeIndex",
            (_WEATHER_RUN if _has_weather_run(results) else _DESIGN_DAY,),
        )
    }
    values = results.execute("SELECT TimeIndex, ReportDataDictionaryIndex, Value FROM ReportData")
    for moment, variable, value in values:
        if moment in hours and variable in places:
            hours[moment][places[variable]] = value
    return hours.values()


def _has_weather_run(results: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM EnvironmentPeriods WHERE EnvironmentType = ?"
    return results.execute(query, (_WEATHER_RUN,)).fetchone() is not None


def _table(results: sqlite3.Connection, report: str, table: str) -> Table:
    rows = results.execute(
        "SELECT RowName, ColumnName, Value FROM TabularDataWithStrings"
        " WHERE ReportName = ? AND ReportForString = 'Entire Facility' AND TableName = ?",
        (report, table),
    )
    return {(row, column): number for row, column, value in rows for number in _number(value)}


def _number(text: str) -> Iterator[float]:
    try:
        yield float(text)
    except ValueError:
        return


def _sum(table: Table, row: str, *columns: str) -> float | None:
    """Return the sum of a row's columns in kWh (tables have GJ); None if the row is missing."""
    values = [table[row, column] for column in columns if (row, column) in table]
    return sum(values) * _KWH_PER_GJ if values else None


def _run_total(results: sqlite3.Connection, variable: str) -> float | None:
    query = (
        "SELECT sum(d.Value) FROM ReportData d JOIN Time t USING (TimeIndex)"
        " JOIN EnvironmentPeriods e USING (EnvironmentPeriodIndex)"
        " JOIN ReportDataDictionary v USING (ReportDataDictionaryIndex)"
        " WHERE e.EnvironmentType = ? AND v.Name = ? AND v.ReportingFrequency = 'Run Period'"
    )
    joules = results.execute(query, (_WEATHER_RUN, variable)).fetchone()[0]
    return None if joules is None else max(joules, 0.0) * _KWH_PER_J
