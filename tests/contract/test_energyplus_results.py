"""Metrics, messages and artifacts beside a direct run of the engine on the submitted model."""

import csv
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from validibot_shared.energyplus.envelopes import EnergyPlusOutputEnvelope

from validators.energyplus.engine import find_engine
from validators.energyplus.validate import VALIDATOR
from validators.sdk.main import main
from validators.sdk.manifest import read_manifest, resolve_resource
from validators.sdk.testing import write_envelope

FOLDER = Path("validators/energyplus")
KWH_PER_GJ = 1e3 / 3.6
ROUNDING_KWH = 0.0051 * KWH_PER_GJ  # tables have two decimals of a GJ
# Two weeks in two run periods, thirty offices and ten rows of meeting rooms, photovoltaics, a wall
# without a construction that is used, and a series of each frequency.
VARIANT = """
RunPeriod,Winter,1,2,2023,1,8,2023,,No,No,No,Yes,Yes;
RunPeriod,Summer,7,3,2023,7,9,2023,,No,No,No,Yes,Yes;
ZoneList,Offices,Open Office;
ZoneGroup,Group,Offices,3;
Construction,Unused,Brick;
Generator:PVWatts,PV,5,4000,Standard,FixedOpenRack;
ElectricLoadCenter:Generators,Generators,PV,Generator:PVWatts,4000,,;
ElectricLoadCenter:Inverter:PVWatts,Inverter,1.1,0.96;
ElectricLoadCenter:Distribution,Center,Generators,Baseload,,,,DirectCurrentWithInverter,Inverter;
Output:Variable,*,Zone Mean Air Temperature,Detailed;
Output:Variable,*,Zone Mean Air Temperature,Daily;
Output:Variable,*,Zone Mean Air Temperature,Monthly;
Output:Variable,*,Zone Mean Air Temperature,Annual;
Output:Meter,Electricity:Facility,Timestep;
Output:Variable,*,Zone Windows Total Heat Gain Energy,RunPeriod;
Output:VariableDictionary,IDF;
"""
# Only in the direct run: requests that make its values exact, which cause no message.
EXACT = """
Output:SQLite,SimpleAndTabular;
Output:Table:SummaryReports,AllSummary;
Output:Meter,Electricity:Facility,RunPeriod;
Output:Meter,DistrictCooling:Facility,RunPeriod;
Output:Meter,DistrictHeatingWater:Facility,RunPeriod;
Output:Meter,ElectricityNet:Facility,RunPeriod;
Output:Meter,Photovoltaic:ElectricityProduced,RunPeriod;
Output:Meter,Heating:DistrictHeatingWater,RunPeriod;
"""

SHORT_PERIODS = """
RunPeriod,Winter,1,2,2023,1,3,2023,,No,No,No,Yes,Yes;
RunPeriod,Summer,7,3,2023,7,4,2023,,No,No,No,Yes,Yes;
"""
GAS = """
GasEquipment,Stove,Open Office,Office Hours,EquipmentLevel,2000,,,0,0.3,0,0,Cooking;
Exterior:FuelEquipment,Heater,NaturalGas,Always On,500,Grounds;
Exterior:FuelEquipment,Burner,Propane,Always On,300,Grounds;
"""
# A turbine that makes more than the building uses, and panels of 3 kW.
WIND = """
Generator:WindTurbine,Turbine,Always On,HorizontalAxisWindTurbine,VariableSpeedVariablePitch,
  41,19.2,30.5,3,55000,11,3.5,25,0.835,8,0.2,6.4,50,,,,0.5176,116,0.4,0,5,21;
Generator:PVWatts,PV,5,3000,Standard,FixedOpenRack;
ElectricLoadCenter:Generators,Wind,Turbine,Generator:WindTurbine,55000,,;
ElectricLoadCenter:Distribution,Wind Center,Wind,Baseload,,,,AlternatingCurrent;
ElectricLoadCenter:Generators,Sun,PV,Generator:PVWatts,3000,,;
ElectricLoadCenter:Inverter:PVWatts,Inverter,1.1,0.96;
ElectricLoadCenter:Distribution,Sun Center,Sun,Baseload,,,,DirectCurrentWithInverter,Inverter;
"""
FUEL_VARIANTS = {
    "gas and propane": GAS,
    "wind and photovoltaics": WIND,
    "inch-pound": "Output:SQLite,SimpleAndTabular,InchPound;\n" + GAS,
}
FUEL_METERS = {
    "NaturalGas:Facility": ("site_energy_kwh", "natural_gas"),
    "Propane:Facility": ("site_energy_kwh", "propane"),
    "InteriorEquipment:NaturalGas": ("end_use_kwh", "interior_equipment_natural_gas"),
    "ExteriorEquipment:Propane": ("end_use_kwh", "exterior_equipment_propane"),
    "WindTurbine:ElectricityProduced": ("energy", "wind_kwh"),
    "Photovoltaic:ElectricityProduced": ("energy", "photovoltaic_kwh"),
    "ElectricityProduced:Facility": ("energy", "electricity_produced_kwh"),
    "ElectricityPurchased:Facility": ("energy", "electricity_purchased_kwh"),
    "ElectricitySurplusSold:Facility": ("energy", "electricity_sold_kwh"),
}


@dataclass(frozen=True)
class Pair:
    """Output of the validator, and the folder of a direct run, of one model."""

    output: EnergyPlusOutputEnvelope
    folder: Path
    direct: Path

    def metric(self, category: str, name: str) -> float:
        (value,) = [
            metric.value
            for metric in self.output.metrics
            if (metric.category, metric.name) == (category, name)
        ]
        assert isinstance(value, float)
        return value

    def cell(self, report: str, table: str, row: str, column: str) -> str:
        """Return a cell of a table of the direct run."""
        query = (
            "SELECT Value FROM TabularDataWithStrings WHERE ReportName = ? AND TableName = ?"
            " AND RowName = ? AND ColumnName = ? AND ReportForString = 'Entire Facility'"
        )
        with closing(sqlite3.connect(self.direct / "eplusout.sql")) as results:
            found = results.execute(query, (report, table, row, column)).fetchone()
        assert found, (report, table, row, column)
        return str(found[0]).strip()

    def meter(self, name: str) -> float:
        """Return a meter of the direct run in kWh, from its `eplusout.mtr`."""
        lines = (self.direct / "eplusout.mtr").read_text().splitlines()
        heads = [line for line in lines if re.search(rf",{re.escape(name)} \[J\] !RunPeriod", line)]
        number = heads[0].split(",")[0]
        values = [line.split(",")[1] for line in lines if line.startswith(f"{number},")][1:]
        return sum(float(value) for value in values[-2:]) / 3.6e6  # after those of the design days


def simulated_pair(folder: Path, direct: Path, text: str, *, exact: str) -> Pair:
    """Run the validator on a model, and the engine alone on the same with `exact` requests.

    The engine finds the statistics of the weather beside it; the validator gets them by their port.
    """
    manifest = read_manifest(FOLDER)
    weather_port, _, statistics_port = manifest.resource_ports
    weather = resolve_resource(weather_port.default)
    statistics = weather_port.default.replace(".epw", ".stat")
    ports = [weather_port, statistics_port.model_copy(update={"default": statistics})]
    model = folder / "model.idf"
    model.write_text(text)
    envelope = write_envelope(folder, manifest.model_copy(update={"resource_ports": ports}), model)
    assert main(VALIDATOR, [envelope.as_uri()]) == 0
    output = EnergyPlusOutputEnvelope.model_validate_json((folder / "output.json").read_bytes())
    copy = direct / "model.idf"
    copy.write_text(re.sub(r"(?m)^Output:SQLite,[^;]*;", "", text) + exact)
    find_engine().simulate(copy, weather=weather, folder=direct, timeout=60, memory_mb=None)
    return Pair(output=output, folder=folder, direct=direct)


def sample_without_run_periods() -> str:
    text = (FOLDER / "samples/small_office.idf").read_text()
    return re.sub(r"(?ms)^RunPeriod,.*?;[^\n]*\n", "", text)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder, direct = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("direct")
    text = re.sub(r"(?m)^Timestep,4;", "Timestep,6;", sample_without_run_periods())
    text = re.sub(r"(?m)^Zone,([^,;]+)[^;]*;", r"Zone,\1,0,0,0,0,1,10;", text)
    assert ",1,10;" in text
    return simulated_pair(folder, direct, text + VARIANT, exact=EXACT)


@pytest.fixture(scope="module", params=sorted(FUEL_VARIANTS))
def fuel_pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder, direct = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("direct")
    text = sample_without_run_periods() + SHORT_PERIODS + FUEL_VARIANTS[request.param]
    exact = EXACT + "".join(f"Output:Meter,{meter},RunPeriod;\n" for meter in FUEL_METERS)
    return simulated_pair(folder, direct, text, exact=exact)


def test_energies_equal_meters_of_direct_run(pair: Pair) -> None:
    metrics = pair.output.outputs.metrics

    expected = {
        "Electricity:Facility": metrics.site_electricity_kwh,
        "DistrictCooling:Facility": metrics.site_district_cooling_kwh,
        "DistrictHeatingWater:Facility": metrics.site_district_heating_kwh,
        "Photovoltaic:ElectricityProduced": pair.metric("energy", "photovoltaic_kwh"),
        "Heating:DistrictHeatingWater": pair.metric(
            "end_use_kwh", "heating_district_heating_water"
        ),
    }
    for meter, value in expected.items():
        assert value == pytest.approx(pair.meter(meter), rel=1e-12), meter
    assert metrics.heating_energy_kwh == metrics.site_district_heating_kwh


@pytest.mark.parametrize("kind", ["Total Site", "Net Site", "Total Source", "Net Source"])
def test_site_and_source_energy_equal_table(pair: Pair, kind: str) -> None:
    table = ("AnnualBuildingUtilityPerformanceSummary", "Site and Source Energy")
    value = pair.metric("energy", f"{kind.lower().replace(' ', '_')}_energy_kwh")

    expected = float(pair.cell(*table, f"{kind} Energy", "Total Energy")) * KWH_PER_GJ
    assert value == pytest.approx(expected, abs=3 * ROUNDING_KWH)
    if "Site" in kind:
        per_area = float(pair.cell(*table, f"{kind} Energy", "Energy Per Total Building Area"))
        name = f"{kind.replace('Total ', '').lower().replace(' ', '_')}_eui_total_area_kwh_m2"
        assert pair.metric("intensity", name) == pytest.approx(per_area / 3.6, abs=0.002)


@pytest.mark.parametrize(
    ("fuel", "column"),
    [
        ("electricity", "Electricity"),
        ("district_cooling", "District Cooling"),
        ("district_heating_water", "District Heating Water"),
    ],
)
def test_peaks_equal_those_of_model_time_step(pair: Pair, fuel: str, column: str) -> None:
    table = ("DemandEndUseComponentsSummary", "End Uses")

    assert pair.metric("peak_demand_w", fuel) == float(pair.cell(*table, "Total End Uses", column))
    (time,) = [m.value for m in pair.output.metrics if (m.category, m.name) == ("peak_time", fuel)]
    day, _, clock = pair.cell(*table, "Time of Peak", column).split("-")
    assert re.fullmatch(rf"\d\d/{day} {clock}", str(time))


def test_zone_multipliers_count_for_windows_and_areas(pair: Pair) -> None:
    metrics = pair.output.outputs.metrics
    table = ("SensibleHeatGainSummary", "Annual Building Sensible Heat Gain Components")

    gain = float(pair.cell(*table, "Total Facility", "Window Heat Addition"))
    loss = -float(pair.cell(*table, "Total Facility", "Window Heat Removal"))
    assert metrics.window_heat_gain_kwh == pytest.approx(gain * KWH_PER_GJ, abs=0.3)
    assert metrics.window_heat_loss_kwh == pytest.approx(loss * KWH_PER_GJ, abs=0.3)
    assert metrics.simulated_conditioned_area_m2 == 30 * 108 + 10 * 72
    assert pair.metric("zone_multiplier", "OPEN OFFICE") == 30


@pytest.mark.parametrize("use", ["heating", "cooling"])
def test_unmet_hours_by_zone_equal_table(pair: Pair, use: str) -> None:
    table = ("SystemSummary", "Time Setpoint Not Met")

    for zone in ("OPEN OFFICE", "MEETING ROOMS"):
        expected = float(pair.cell(*table, zone, f"During Occupied {use.title()}"))
        assert pair.metric(f"zone_unmet_{use}_hours", zone) == expected


def test_energies_of_each_fuel_equal_meters_of_direct_run(fuel_pair: Pair) -> None:
    heads = (fuel_pair.direct / "eplusout.mtr").read_text()
    metered = {meter for meter in FUEL_METERS if re.search(rf",{meter} \[J\] !RunPeriod", heads)}

    values = {meter: fuel_pair.metric(*FUEL_METERS[meter]) for meter in metered}
    assert sum(value > 0 for value in values.values()) >= 4
    for meter, value in values.items():
        assert value == pytest.approx(fuel_pair.meter(meter), rel=1e-12), meter


@pytest.mark.parametrize("kind", ["Total Site", "Net Site", "Total Source", "Net Source"])
def test_site_and_source_energy_of_each_fuel_equal_table(fuel_pair: Pair, kind: str) -> None:
    table = ("AnnualBuildingUtilityPerformanceSummary", "Site and Source Energy")
    value = fuel_pair.metric("energy", f"{kind.lower().replace(' ', '_')}_energy_kwh")

    expected = float(fuel_pair.cell(*table, f"{kind} Energy", "Total Energy")) * KWH_PER_GJ
    assert value == pytest.approx(expected, abs=3 * ROUNDING_KWH)


def test_units_of_tables_do_not_change_metrics(fuel_pair: Pair) -> None:
    metrics = fuel_pair.output.outputs.metrics
    demand = ("DemandEndUseComponentsSummary", "End Uses", "Total End Uses")
    unmet = ("AnnualBuildingUtilityPerformanceSummary", "Comfort and Setpoint Not Met Summary")
    row = "Time Setpoint Not Met During Occupied Cooling"

    assert metrics.simulated_conditioned_area_m2 == 108 + 72
    assert metrics.unmet_cooling_hours == float(fuel_pair.cell(*unmet, row, "Facility"))
    # Tables of both systems have two decimals: 0.01 kBtu/h are 3 W.
    for fuel, column in (("electricity", "Electricity"), ("natural_gas", "Natural Gas")):
        if expected := float(fuel_pair.cell(*demand, column)):
            assert fuel_pair.metric("peak_demand_w", fuel) == pytest.approx(expected, abs=3)


def test_messages_equal_those_of_direct_run(pair: Pair) -> None:
    expected = re.findall(
        r"\*\* *(Warning|Severe|Fatal) *\*\* (.*)", (pair.direct / "eplusout.err").read_text()
    )
    ours = [
        ((message.code or "").removeprefix("ENERGYPLUS_").title(), message.text.splitlines()[0])
        for message in pair.output.messages
        if message.code in {"ENERGYPLUS_WARNING", "ENERGYPLUS_SEVERE", "ENERGYPLUS_FATAL"}
    ]

    assert ours == expected
    assert (pair.output.outputs.warning_count, pair.output.outputs.severe_count) == (2, 0)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("eplusout.csv", 14 * 24),
        ("eplusout_detailed.csv", 14 * 24 * 6),
        ("eplusout_timestep.csv", 14 * 24 * 6),
        ("eplusout_daily.csv", 14),
        ("eplusout_monthly.csv", 2),
        ("eplusout_runperiod.csv", 2),
        ("eplusout_zones.csv", 2),
    ],
)
def test_each_frequency_has_its_series(pair: Pair, name: str, rows: int) -> None:
    with (pair.folder / "outputs" / name).open(newline="") as file:
        _, *found = csv.reader(file)

    assert len(found) == rows
    assert all(row[0] and row[1] for row in found)


def test_every_file_of_engine_is_an_artifact(pair: Pair) -> None:
    kept = {artifact.name for artifact in pair.output.artifacts}

    written = {path.name for path in pair.direct.glob("eplus*") if path.stat().st_size}
    assert written <= kept
    assert {"eplusout.rdd", "eplusout.mdd", "eplusout.mtr", "eplusout.eio"} <= kept
