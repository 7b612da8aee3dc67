"""Design days of the weather, added to models that need them."""

import json
from pathlib import Path

import pytest
from validibot_shared.validations.envelopes import Severity

from validators.energyplus.design_days import add_design_days
from validators.energyplus.engine import find_engine
from validators.energyplus.model import read_model

SIZED = "Version,25.2;Sizing:Zone,Office,autosize;"
KIND = "SizingPeriod:DesignDay"


@pytest.fixture(scope="module")
def ddy() -> Path:
    folder = find_engine().binary.parent / "WeatherData"
    return folder / "USA_CO_Golden-NREL.724666_TMY3.ddy"


def test_heating_and_cooling_day_are_added_once(ddy: Path) -> None:
    model = read_model(SIZED, epjson=False)

    (message,) = add_design_days(model, ddy)

    assert (message.severity, message.code) == (Severity.INFO, "ENERGYPLUS_DESIGN_DAYS_ADDED")
    days = read_model(model.dump().decode(), epjson=False).of_kind(KIND)
    assert [day.values[3] for day in days] == ["WinterDesignDay", "SummerDesignDay"]
    assert add_design_days(read_model(model.dump().decode(), epjson=False), ddy) == []


def test_epjson_gets_numbers_and_no_empty_fields(ddy: Path) -> None:
    sized = {"Sizing:Zone": {"Office": {"zone_name": "autosize"}}}
    model = read_model(json.dumps(sized), epjson=True)

    add_design_days(model, ddy)

    days = json.loads(model.dump())[KIND]
    heating = next(day for name, day in days.items() if "Htg" in name)
    assert (heating["month"], heating["day_type"]) == (12, "WinterDesignDay")
    assert isinstance(heating["maximum_dry_bulb_temperature"], float)
    assert "" not in heating.values()


@pytest.mark.parametrize(
    "idf", ["Zone,Office;", f"{SIZED}{KIND},Mine;", f"{SIZED}SizingPeriod:WeatherFileDays,Mine;"]
)
def test_model_that_needs_no_design_day_stays_as_it_is(idf: str, ddy: Path) -> None:
    model = read_model(idf, epjson=False)

    assert add_design_days(model, ddy) == []
    assert len(read_model(model.dump().decode(), epjson=False).objects) == len(model.objects)


def test_missing_file_changes_nothing() -> None:
    assert add_design_days(read_model(SIZED, epjson=False), None) == []


def test_file_without_design_days_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "a.ddy"
    file.write_bytes(b"Site:Location,Here;")

    (message,) = add_design_days(read_model(SIZED, epjson=False), file)

    assert message.severity == Severity.WARNING
    assert "a.ddy has no design day" in message.text
