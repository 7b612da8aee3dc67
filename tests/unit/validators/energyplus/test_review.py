"""The checks that a step can ask for."""

import pytest

from validators.energyplus.model import read_model
from validators.energyplus.review import check

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
def test_a_check_finds_what_it_is_for(name: str, idf: str, expected: int) -> None:
    messages = check(read_model(idf.encode(), epjson=False), [name])

    assert len(messages) == expected
    assert all(message.tags == ["energyplus-review"] for message in messages)
