"""What is refused before the engine runs."""

import json

import pytest

from validators.energyplus.model import read_model
from validators.energyplus.rules import refusals

ZONE = "Zone,Office;"


def codes(idf: str) -> list[str | None]:
    return [message.code for message in refusals(read_model(idf.encode(), epjson=False))]


def test_a_plain_model_passes() -> None:
    assert codes(f"Version,25.2;{ZONE}") == []


@pytest.mark.parametrize(
    "idf", ["", "   \n", "! only a comment", "Version,25.2;", "no end of object"]
)
def test_a_model_without_objects_is_refused(idf: str) -> None:
    assert codes(idf) == ["ENERGYPLUS_EMPTY_MODEL"]


@pytest.mark.parametrize("version", ["25.2", "25.2.0"])
def test_the_engines_own_version_passes_in_every_spelling(version: str) -> None:
    assert codes(f"version , {version} ;{ZONE}") == []


@pytest.mark.parametrize("version", ["9.2", "25.1", "25.20", "26.1", "junk"])
def test_another_version_is_refused(version: str) -> None:
    assert codes(f"Version,{version};{ZONE}") == ["ENERGYPLUS_VERSION_MISMATCH"]


@pytest.mark.parametrize("idf", [ZONE, f"Version,;{ZONE}"])
def test_a_missing_version_is_refused(idf: str) -> None:
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


def test_sensors_of_the_energy_management_system_are_harmless() -> None:
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
def test_a_schedule_file_outside_of_the_model_is_refused(path: str) -> None:
    assert codes(f"Version,25.2;{ZONE}Schedule:File,S,Any,{path},1,0;") == [
        "ENERGYPLUS_PATH_REFUSED"
    ]


def test_a_schedule_file_beside_the_model_is_the_engines_business() -> None:
    assert codes(f"Version,25.2;{ZONE}Schedule:File,S,Any,people.csv,1,0;") == []


def test_paths_in_epjson_are_seen_too() -> None:
    model = {
        "Version": {"1": {"version_identifier": "25.2"}},
        "Schedule:File": {"S": {"file_name": "/etc/passwd", "column_number": 1}},
    }

    found = refusals(read_model(json.dumps(model).encode(), epjson=True))

    assert [message.code for message in found] == ["ENERGYPLUS_PATH_REFUSED"]
