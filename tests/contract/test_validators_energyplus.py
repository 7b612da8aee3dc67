"""Metrics and series of real simulations."""

import csv
from pathlib import Path

import pytest
from validibot_shared.energyplus.envelopes import EnergyPlusOutputEnvelope, EnergyPlusOutputs

from validators.energyplus.validate import VALIDATOR
from validators.sdk.main import main
from validators.sdk.manifest import read_manifest
from validators.sdk.testing import write_envelope

FOLDER = Path("validators/energyplus")


def simulate(folder: Path, sample: str, **inputs: object) -> EnergyPlusOutputs:
    model = FOLDER / "samples" / sample
    envelope = write_envelope(folder, read_manifest(FOLDER), model, inputs=inputs)
    assert main(VALIDATOR, [envelope.as_uri()]) == 0
    stored = (folder / "output.json").read_bytes()
    return EnergyPlusOutputEnvelope.model_validate_json(stored).outputs


def series(folder: Path) -> list[list[str]]:
    with (folder / "outputs/eplusout.csv").open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EnergyPlusOutputs]:
    folder = tmp_path_factory.mktemp("year")
    return folder, simulate(folder, "small_office.idf")


def test_energy_of_year_adds_up(year: tuple[Path, EnergyPlusOutputs]) -> None:
    metrics = year[1].metrics

    parts = (
        metrics.site_electricity_kwh,
        metrics.site_district_heating_kwh,
        metrics.site_district_cooling_kwh,
    )
    total = sum(part or 0 for part in parts)
    assert metrics.simulated_conditioned_area_m2 == 180
    assert metrics.site_eui_kwh_m2 == pytest.approx(total / 180)
    assert 100 < total / 180 < 250
    assert metrics.heating_energy_kwh == metrics.site_district_heating_kwh
    assert metrics.site_natural_gas_kwh == 0


def test_peaks_windows_and_comfort_are_read(year: tuple[Path, EnergyPlusOutputs]) -> None:
    metrics = year[1].metrics

    # All people's lights and machines at once: 108 m2 at 18 W and 72 m2 at 13 W.
    assert metrics.peak_electric_demand_w == 2880
    assert (metrics.unmet_heating_hours, metrics.unmet_cooling_hours) == (0, 0)
    assert (metrics.window_heat_gain_kwh or 0) > (metrics.window_transmitted_solar_kwh or 0) > 0
    assert (metrics.window_heat_loss_kwh or 0) > 0


def test_series_has_every_hour_of_year(year: tuple[Path, EnergyPlusOutputs]) -> None:
    header, *hours = series(year[0])

    assert len(hours) == 8760
    assert (hours[0][0], hours[-1][0]) == ("01/01 01:00", "12/31 24:00")
    assert "OPEN OFFICE:Zone Mean Air Temperature [C](Hourly)" in header
    assert all(all(row) for row in hours)


def test_design_days_have_series_without_metrics(tmp_path: Path) -> None:
    metrics = simulate(tmp_path, "small_office_designday.idf").metrics

    assert len(series(tmp_path)) == 1 + 48
    assert metrics.model_dump(exclude_none=True) == {"simulated_conditioned_area_m2": 180}


def sums(folder: Path) -> dict[str, float]:
    """Return the sum of each column: the formats differ in the order of columns and design days."""
    header, *rows = series(folder)
    columns = zip(*rows, strict=True)
    return {
        title: sum(map(float, values))
        for title, values in zip(header, columns, strict=True)
        if title != "Date/Time"
    }


def test_idf_and_epjson_give_same_series(tmp_path: Path) -> None:
    idf, epjson = tmp_path / "idf", tmp_path / "epjson"
    for folder, sample in ((idf, "small_office_designday.idf"), (epjson, "small_office.epJSON")):
        folder.mkdir()
        simulate(folder, sample)

    assert sums(idf) == pytest.approx(sums(epjson), rel=1e-4)


def test_run_period_is_shortened(tmp_path: Path) -> None:
    simulate(tmp_path, "small_office.idf", run_period_days=2)

    assert len(series(tmp_path)) == 1 + 48
