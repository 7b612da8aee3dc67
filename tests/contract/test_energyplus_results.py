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


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder, direct = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("direct")
    text = (FOLDER / "samples/small_office.idf").read_text()
    text = re.sub(r"(?ms)^RunPeriod,.*?;[^\n]*\n", "", text)
    text = re.sub(r"(?m)^Timestep,4;", "Timestep,6;", text)
    text = re.sub(r"(?m)^Zone,([^,;]+)[^;]*;", r"Zone,\1,0,0,0,0,1,10;", text)
    assert ",1,10;" in text
    model = folder / "model.idf"
    model.write_text(text + VARIANT)
    envelope = write_envelope(folder, read_manifest(FOLDER), model)
    assert main(VALIDATOR, [envelope.as_uri()]) == 0
    output = EnergyPlusOutputEnvelope.model_validate_json((folder / "output.json").read_bytes())
    copy = direct / "model.idf"
    copy.write_text(text + VARIANT + EXACT)
    weather = resolve_resource(read_manifest(FOLDER).resource_ports[0].default)
    find_engine().simulate(copy, weather=weather, folder=direct, timeout=60, memory_mb=None)
    return Pair(output=output, folder=folder, direct=direct)


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
