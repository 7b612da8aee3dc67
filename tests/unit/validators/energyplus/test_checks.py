"""Checks of a model: refusals before the engine runs, and reviews on request."""

import pytest

from validators.energyplus.checks import needs_expansion, refusals, review, warnings
from validators.energyplus.model import read_model

ZONE = "Zone,Office;"


def codes(idf: str) -> list[str | None]:
    return [message.code for message in refusals(read_model(idf, epjson=False))]


def warned(idf: str) -> list[tuple[str | None, int | None]]:
    found = warnings(read_model(idf, epjson=False))
    return [(item.code, item.location.line if item.location else None) for item in found]


def test_plain_model_is_accepted_without_warning() -> None:
    assert codes(f"Version,25.2;{ZONE}") == []
    assert warned(f"version , 25.2.0 ;{ZONE}") == []


@pytest.mark.parametrize("idf", ["", "   \n", "! only a comment", "Version,25.2;"])
def test_model_without_objects_is_refused(idf: str) -> None:
    assert codes(idf) == ["ENERGYPLUS_EMPTY_MODEL"]


@pytest.mark.parametrize("version", ["9.2", "25.1", "25.20", "26.1", "junk", ""])
def test_other_version_is_warned_about(version: str) -> None:
    idf = f"{ZONE}\nVersion,{version};"

    assert codes(idf) == []
    assert warned(idf) == [("ENERGYPLUS_VERSION_MISMATCH", 2)]


def test_missing_version_is_left_to_engine() -> None:
    assert (codes(ZONE), warned(ZONE)) == ([], [])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("PythonPlugin:Instance", "EnergyManagementSystem"),
        ("pythonplugin:searchpaths", "Python programs"),
        ("ExternalInterface", "another program"),
        ("ExternalInterface:FunctionalMockupUnitImport", "schedule"),
    ],
)
def test_foreign_code_is_refused_with_remedy(kind: str, words: str) -> None:
    (refused,) = refusals(read_model(f"{ZONE}\n{kind},X;{kind},Y;", epjson=False))

    assert refused.code == "ENERGYPLUS_OBJECT_REFUSED"
    assert words in refused.text
    assert refused.location
    assert refused.location.line == 2


def test_foreign_code_without_semicolon_is_refused() -> None:
    """The engine takes the text after the last semicolon as an object."""
    assert codes(f"{ZONE}PythonPlugin:Instance,X") == ["ENERGYPLUS_OBJECT_REFUSED"]


@pytest.mark.parametrize("kind", ["Program", "Subroutine", "Sensor"])
def test_ems_objects_are_accepted(kind: str) -> None:
    assert codes(f"{ZONE}EnergyManagementSystem:{kind},X;") == []


@pytest.mark.parametrize(
    ("idf", "expected"),
    [
        ("HVACTemplate:Thermostat,T;", True),
        ("hvactemplate:zone:vav,T;", True),
        ("GroundHeatTransfer:Control,G;", True),
        (ZONE, False),
    ],
)
def test_objects_of_preprocessor_need_expansion(idf: str, expected: bool) -> None:
    assert needs_expansion(read_model(idf, epjson=False)) is expected


def test_ground_heat_transfer_is_warned_about() -> None:
    assert warned(f"{ZONE}GroundHeatTransfer:Control,G;GroundHeatTransfer:Slab:Materials,2;") == [
        ("ENERGYPLUS_GROUND_HEAT_TRANSFER", 1)
    ]


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
    messages = review(read_model(idf, epjson=False), [name])

    assert len(messages) == expected
    assert all(message.tags == ["energyplus-review"] for message in messages)
