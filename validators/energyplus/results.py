"""Metrics from the engine's SQLite output.

Energies are meters of the run period, in joules as the engine has them; its tables round to 0.01 GJ.
Meters and tables include the multipliers of zones and zone lists, variables of zones and windows do
not. Peaks, areas, source energy and hours come from the tables, with the digits that those have.
"""

import csv
import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from validibot_shared.energyplus.models import EnergyPlusSimulationMetrics
from validibot_shared.validations.envelopes import ValidationMetric

from validators.energyplus.series import WEATHER_RUN, has_weather_run

_KWH_PER_J = 1 / 3.6e6
# Tables are in the units that the model's Output:SQLite asks for.
_TO_BASE_UNIT = {
    "GJ": 1e3 / 3.6,
    "MJ": 1 / 3.6,
    "kBtu": 1.05505585 / 3.6,
    "ft2": 0.09290304,
    "kBtuh": 1e3 * 1.05505585 / 3.6,
    "kBtu/h": 1e3 * 1.05505585 / 3.6,
    "kW": 1e3,
}

_OTHER_FUELS = {
    "Gasoline": "gasoline",
    "Diesel": "diesel",
    "Coal": "coal",
    "FuelOilNo1": "fuel_oil_no_1",
    "FuelOilNo2": "fuel_oil_no_2",
    "Propane": "propane",
    "OtherFuel1": "other_fuel_1",
    "OtherFuel2": "other_fuel_2",
}
FUELS = {
    "Electricity": "electricity",
    "NaturalGas": "natural_gas",
    "DistrictCooling": "district_cooling",
    "DistrictHeatingWater": "district_heating_water",
    "DistrictHeatingSteam": "district_heating_steam",
    **_OTHER_FUELS,
}
"""Fuels by their name in meters, and how metrics call them."""

END_USES = {
    "Heating": "heating",
    "Cooling": "cooling",
    "InteriorLights": "interior_lighting",
    "ExteriorLights": "exterior_lighting",
    "InteriorEquipment": "interior_equipment",
    "ExteriorEquipment": "exterior_equipment",
    "Fans": "fans",
    "Pumps": "pumps",
    "HeatRejection": "heat_rejection",
    "Humidifier": "humidification",
    "HeatRecovery": "heat_recovery",
    "WaterSystems": "water_systems",
    "Refrigeration": "refrigeration",
    "Cogeneration": "generators",
}
"""End uses by their name in meters, and how metrics call them."""

_GENERATION = {
    "electricity_produced_kwh": "ElectricityProduced:Facility",
    "photovoltaic_kwh": "Photovoltaic:ElectricityProduced",
    "wind_kwh": "WindTurbine:ElectricityProduced",
    "cogeneration_kwh": "Cogeneration:ElectricityProduced",
    "electricity_purchased_kwh": "ElectricityPurchased:Facility",
    "electricity_sold_kwh": "ElectricitySurplusSold:Facility",
}
_ANNUAL = "AnnualBuildingUtilityPerformanceSummary"
_DEMAND = "DemandEndUseComponentsSummary"
_SYSTEMS = "SystemSummary"
_VERIFICATION = "InputVerificationandResultsSummary"
_UNMET = "Time Setpoint Not Met During Occupied "
# Names of zones are in capitals.
_TOTALS = {"Facility", "Total", "Conditioned Total", "Unconditioned Total", "Not Part of Total"}
_PEAK_TIME = re.compile(r"(\d\d)-([A-Z]{3})-(\d\d:\d\d)")
_MONTHS = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"

type Table = dict[tuple[str, str], str]
type Tables = defaultdict[tuple[str, str], Table]


@dataclass(frozen=True, kw_only=True)
class Areas:
    """Floor areas of the building in m², multipliers included."""

    total: float | None
    conditioned: float | None


@dataclass(frozen=True, kw_only=True)
class RunResults:
    """Metrics of a run: those that the published outputs name, and further ones."""

    named: EnergyPlusSimulationMetrics
    further: list[ValidationMetric]


def read_metrics(results: sqlite3.Connection, zone_summary: Path) -> RunResults:
    """Return the metrics of the run periods; without any only areas and zones.

    Write the engine's summary of zones to `zone_summary`, as CSV, if it has one.
    """
    tables = _tables(results)
    zones = tables[_VERIFICATION, "Zone Summary"]
    unmet = tables[_SYSTEMS, "Time Setpoint Not Met"]
    _write_zones(zones, unmet, zone_summary)
    areas = _areas(results, tables)
    further = [
        *_some({"total_building_area_m2": areas.total}, unit="m²", category="area"),
        *_by_zone(zones, "Area", category="zone_floor_area_m2", unit="m²"),
        *_by_zone(zones, "Multipliers", category="zone_multiplier", unit=None),
    ]
    if not has_weather_run(results):
        named = EnergyPlusSimulationMetrics(simulated_conditioned_area_m2=areas.conditioned)
        return RunResults(named=named, further=further)
    meters = _meters(results)
    further += _energies(meters, areas, tables[_ANNUAL, "Site and Source Energy"])
    further += _peaks(tables[_DEMAND, "End Uses"])
    for column in ("Heating", "Cooling"):
        further += _by_zone(
            unmet,
            f"During Occupied {column}",
            category=f"zone_unmet_{column.lower()}_hours",
            unit="h",
        )
    return RunResults(
        named=_named(tables, meters, areas, _zone_variables(results)), further=further
    )


def _write_zones(zones: Table, unmet: Table, target: Path) -> None:
    columns = list(dict.fromkeys(column for _, column in [*zones, *unmet]))
    rows = [row for row in dict.fromkeys(row for row, _ in zones) if row not in _TOTALS]
    if not rows:
        return
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Zone", *columns])
        writer.writerows(
            [row, *((zones | unmet).get((row, column), "") for column in columns)] for row in rows
        )


def _named(
    tables: Tables, meters: Mapping[str, float], areas: Areas, windows: Mapping[str, float]
) -> EnergyPlusSimulationMetrics:
    unmet = tables[_ANNUAL, "Comfort and Setpoint Not Met Summary"]
    site = _sum(meters, FUELS) if meters else None
    energies = {
        "site_electricity_kwh": ("Electricity",),
        "site_natural_gas_kwh": ("NaturalGas",),
        "site_district_cooling_kwh": ("DistrictCooling",),
        "site_district_heating_kwh": ("DistrictHeatingWater", "DistrictHeatingSteam"),
        "site_other_fuels_kwh": _OTHER_FUELS,
    }
    uses = {
        "heating_energy_kwh": "Heating",
        "cooling_energy_kwh": "Cooling",
        "interior_lighting_kwh": "InteriorLights",
        "fans_energy_kwh": "Fans",
        "pumps_energy_kwh": "Pumps",
        "water_systems_kwh": "WaterSystems",
    }
    values: dict[str, float | None] = {
        "site_eui_kwh_m2": site / areas.conditioned if site and areas.conditioned else None,
        "unmet_heating_hours": _number(unmet.get((f"{_UNMET}Heating", "Facility"))),
        "unmet_cooling_hours": _number(unmet.get((f"{_UNMET}Cooling", "Facility"))),
        "peak_electric_demand_w": _number(
            tables[_DEMAND, "End Uses"].get(("Total End Uses", "Electricity"))
        ),
        "simulated_conditioned_area_m2": areas.conditioned,
        "window_heat_gain_kwh": windows.get("Zone Windows Total Heat Gain Energy"),
        "window_heat_loss_kwh": windows.get("Zone Windows Total Heat Loss Energy"),
        "window_transmitted_solar_kwh": windows.get(
            "Surface Window Transmitted Solar Radiation Energy"
        ),
    }
    if meters:
        values |= {name: max(_sum(meters, fuels), 0.0) for name, fuels in energies.items()}
        values |= {
            name: max(sum(meters.get(f"{use}:{fuel}", 0.0) for fuel in FUELS), 0.0)
            for name, use in uses.items()
        }
    return EnergyPlusSimulationMetrics(**values)


def _energies(
    meters: Mapping[str, float], areas: Areas, source: Table
) -> Iterator[ValidationMetric]:
    """Yield energies by fuel and use, those of generators, site and source, and intensities."""
    if not meters:
        return
    total = _sum(meters, FUELS)
    # A building without generators has no meters of bought and sold electricity.
    electricity = meters.get("Electricity:Facility", 0.0)
    net = total - electricity + meters.get("ElectricityNet:Facility", electricity)
    yield from _some(
        {
            "total_site_energy_kwh": total,
            "net_site_energy_kwh": net,
            "total_source_energy_kwh": _number(source.get(("Total Source Energy", "Total Energy"))),
            "net_source_energy_kwh": _number(source.get(("Net Source Energy", "Total Energy"))),
            **{name: meters.get(meter, 0.0) for name, meter in _GENERATION.items()},
        },
        unit="kWh",
        category="energy",
    )
    yield from _some(
        {
            f"{kind}_eui_{name}_area_kwh_m2": value / area if area else None
            for kind, value in (("site", total), ("net_site", net))
            for name, area in (("total", areas.total), ("conditioned", areas.conditioned))
        },
        unit="kWh/m²",
        category="intensity",
    )
    used = [fuel for fuel in FUELS if f"{fuel}:Facility" in meters]
    yield from _some(
        {FUELS[fuel]: meters.get(f"{fuel}:Facility", 0.0) for fuel in FUELS},
        unit="kWh",
        category="site_energy_kwh",
    )
    yield from _some(
        {
            f"{END_USES[use]}_{FUELS[fuel]}": meters.get(f"{use}:{fuel}", 0.0)
            for use in END_USES
            for fuel in used
        },
        unit="kWh",
        category="end_use_kwh",
    )


def _peaks(demand: Table) -> Iterator[ValidationMetric]:
    """Yield the highest demand of each fuel at the model's time step, and when it was."""
    fuels = {name.replace(" ", ""): name for _, name in demand}
    for fuel, slug in FUELS.items():
        watts = _number(demand.get(("Total End Uses", fuels.get(fuel, ""))))
        if not watts:
            continue
        yield ValidationMetric(name=slug, value=watts, unit="W", category="peak_demand_w")
        moment = _PEAK_TIME.match(demand.get(("Time of Peak", fuels[fuel]), ""))
        if moment:
            month = _MONTHS.index(moment[2]) // 3 + 1
            time = f"{month:02}/{moment[1]} {moment[3]}"
            yield ValidationMetric(name=slug, value=time, category="peak_time")


def _meters(results: sqlite3.Connection) -> dict[str, float]:
    """Return the meters of the run periods in kWh."""
    rows = results.execute(
        "SELECT ReportDataDictionaryIndex, Name FROM ReportDataDictionary"
        " WHERE ReportingFrequency = 'Run Period' AND IsMeter = 1 AND Units = 'J'"
        " AND Name NOT LIKE 'Cumulative %'"
    )
    totals = _totals(results)
    return {name: totals[index] * _KWH_PER_J for index, name in rows if index in totals}


def _zone_variables(results: sqlite3.Connection) -> dict[str, float]:
    """Return the run's sums of variables of zones and windows in kWh, with the zones' multipliers.

    Windows between zones do not count: both of their sides would.
    """
    rows = results.execute(
        "WITH place AS ("
        " SELECT ZoneName AS name, Multiplier * ListMultiplier AS count, 'Zone' AS kind FROM Zones"
        " UNION SELECT s.SurfaceName, z.Multiplier * z.ListMultiplier, 'Surface' FROM Surfaces s"
        " JOIN Zones z USING (ZoneIndex) WHERE s.ExtBoundCond = 0)"
        # The model may request a variable that we request too.
        " SELECT min(v.ReportDataDictionaryIndex), v.Name, p.count FROM ReportDataDictionary v"
        " JOIN place p ON p.name = v.KeyValue AND v.Name LIKE p.kind || ' Window%'"
        " WHERE v.ReportingFrequency = 'Run Period' AND v.IsMeter = 0 AND v.ScheduleName IS NULL"
        " GROUP BY v.KeyValue, v.Name"
    )
    totals = _totals(results)
    sums: dict[str, float] = {}
    for index, name, count in rows:
        if index in totals:
            sums[name] = sums.get(name, 0.0) + totals[index] * count
    return {name: max(joules, 0.0) * _KWH_PER_J for name, joules in sums.items()}


def _totals(results: sqlite3.Connection) -> dict[int, float]:
    """Return the sums over the run periods by variable; ReportData has no index to join with."""
    rows = results.execute(
        "SELECT d.ReportDataDictionaryIndex, sum(d.Value) FROM ReportData d"
        " WHERE d.ReportDataDictionaryIndex IN (SELECT ReportDataDictionaryIndex"
        " FROM ReportDataDictionary WHERE ReportingFrequency = 'Run Period')"
        " AND (SELECT e.EnvironmentType FROM Time t JOIN EnvironmentPeriods e"
        " USING (EnvironmentPeriodIndex) WHERE t.TimeIndex = d.TimeIndex) = ? GROUP BY 1",
        (WEATHER_RUN,),
    )
    return dict(rows.fetchall())


def _areas(results: sqlite3.Connection, tables: Tables) -> Areas:
    """Return the areas in full precision; the tables tell which zones count."""
    zones = tables[_VERIFICATION, "Zone Summary"]
    sums = {"total": 0.0, "conditioned": 0.0}
    rows = results.execute("SELECT ZoneName, FloorArea * Multiplier * ListMultiplier FROM Zones")
    for name, area in rows:
        if zones.get((name, "Part of Total Floor Area (Y/N)")) == "Yes":
            sums["total"] += area
            if zones.get((name, "Conditioned (Y/N)")) == "Yes":
                sums["conditioned"] += area
    table = tables[_ANNUAL, "Building Area"]
    return Areas(
        total=_number(table.get(("Total Building Area", "Area"))) and round(sums["total"], 6),
        conditioned=_number(table.get(("Net Conditioned Building Area", "Area")))
        and round(sums["conditioned"], 6),
    )


def _tables(results: sqlite3.Connection) -> Tables:
    """Return the cells of the tables that are read here; numbers in kWh, W and m².

    One query: the view joins seven tables, and each query goes through all of its rows.
    """
    rows = results.execute(
        "SELECT ReportName, TableName, RowName, ColumnName, Units, Value"
        " FROM TabularDataWithStrings WHERE ReportForString = 'Entire Facility'"
        " AND ReportName IN (SELECT value FROM json_each(?))",
        (json.dumps([_ANNUAL, _DEMAND, _VERIFICATION, _SYSTEMS]),),
    )
    tables: Tables = defaultdict(dict)
    for report, table, row, column, unit, value in rows:
        tables[report, table][row, column] = _converted(value.strip(), unit)
    return tables


def _converted(value: str, unit: str) -> str:
    number = _number(value) if unit in _TO_BASE_UNIT else None
    return value if number is None else repr(number * _TO_BASE_UNIT[unit])


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _sum(meters: Mapping[str, float], fuels: Iterable[str]) -> float:
    return sum(meters.get(f"{fuel}:Facility", 0.0) for fuel in fuels)


def _by_zone(
    table: Table, column: str, *, category: str, unit: str | None
) -> Iterator[ValidationMetric]:
    values = {row: _number(value) for (row, name), value in table.items() if name == column}
    return _some(
        {row: value for row, value in values.items() if row not in _TOTALS},
        unit=unit,
        category=category,
    )


def _some(
    values: Mapping[str, float | None], *, unit: str | None, category: str
) -> Iterator[ValidationMetric]:
    """Yield those of the values that there are."""
    for name, value in values.items():
        if value is not None:
            yield ValidationMetric(name=name, value=value, unit=unit, category=category)
