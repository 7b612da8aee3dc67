"""Checks of a model: refusals before the engine runs, and reviews on request."""

import json

import pytest

from validators.energyplus.checks import refusals, review
from validators.energyplus.model import read_model

ZONE = "Zone,Office;"


def codes(idf: str) -> list[str | None]:
    return [message.code for message in refusals(read_model(idf.encode(), epjson=False))]


def test_plain_model_is_accepted() -> None:
    assert codes(f"Version,25.2;{ZONE}") == []


@pytest.mark.parametrize(
    "idf", ["", "   \n", "! only a comment", "Version,25.2;", "no end of object"]
)
def test_model_without_objects_is_refused(idf: str) -> None:
    assert codes(idf) == ["ENERGYPLUS_EMPTY_MODEL"]


@pytest.mark.parametrize("version", ["25.2", "25.2.0"])
def test_engine_version_is_accepted_in_every_spelling(version: str) -> None:
    assert codes(f"version , {version} ;{ZONE}") == []


@pytest.mark.parametrize("version", ["9.2", "25.1", "25.20", "26.1", "junk"])
def test_other_version_is_refused(version: str) -> None:
    assert codes(f"Version,{version};{ZONE}") == ["ENERGYPLUS_VERSION_MISMATCH"]


@pytest.mark.parametrize("idf", [ZONE, f"Version,;{ZONE}"])
def test_missing_version_is_refused(idf: str) -> None:
    assert codes(idf) == ["ENERGYPLUS_VERSION_MISSING"]


@pytest.mark.parametrize(
    "kind",
    [
        "PythonPlugin:Instance",
        "pythonplugin:searchpaths",
        "ExternalInterface",
        "ExternalInterface:FunctionalMockupUnitImport",
        "EnergyManagementSystem:Program",
        "EnergyManagementSystem:Subroutine",
    ],
)
def test_objects_that_run_code_are_refused(kind: str) -> None:
    assert codes(f"Version,25.2;{ZONE}{kind},X;") == ["ENERGYPLUS_OBJECT_REFUSED"]


def test_ems_sensors_are_accepted() -> None:
    assert codes(f"Version,25.2;{ZONE}EnergyManagementSystem:Sensor,X,*,Y;") == []


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "..\\up.csv",
        "../up.csv",
        "a/../../up.csv",
        "C:\\x.csv",
        "~/x",
        "http://x/y.csv",
    ],
)
def test_schedule_file_outside_folder_is_refused(path: str) -> None:
    assert codes(f"Version,25.2;{ZONE}Schedule:File,S,Any,{path},1,0;") == [
        "ENERGYPLUS_PATH_REFUSED"
    ]


def test_schedule_file_beside_model_is_accepted() -> None:
    assert codes(f"Version,25.2;{ZONE}Schedule:File,S,Any,people.csv,1,0;") == []


def test_paths_in_epjson_are_checked() -> None:
    model = {
        "Version": {"1": {"version_identifier": "25.2"}},
        "Schedule:File": {"S": {"file_name": "/etc/passwd", "column_number": 1}},
    }

    found = refusals(read_model(json.dumps(model).encode(), epjson=True))

    assert [message.code for message in found] == ["ENERGYPLUS_PATH_REFUSED"]


SIZED = "Fan:OnOff,F,,0.6,600,autosize;"


@pytest.mark.parametrize(
    ("name", "idf", "expected"),
    [
        ("duplicate-names", "Zone,A;Zone,B;", 0),
        ("duplicate-names", "Zone,A;Zone,a;", 1),
        ("hvac-sizing", "Zone,A;", 0),
        ("hvac-sizing", SIZED, 1),
        ("hvac-sizing", SIZED + "SizingPeriod:DesignDay,D;", 0),
        (
            "schedule-coverage",
            "Schedule:Compact,S,Any,Through: 12/31,For: AllDays,Until: 24:00,1;",
            0,
        ),
        (
            "schedule-coverage",
            "Schedule:Compact,S,Any,Through: 6/30,For: AllDays,Until: 24:00,1;",
            1,
        ),
    ],
)
def test_review_check_finds_its_fault(name: str, idf: str, expected: int) -> None:
    messages = review(read_model(idf.encode(), epjson=False), [name])

    assert len(messages) == expected
    assert all(message.tags == ["energyplus-review"] for message in messages)
