"""Settings of a step, checked when it is saved."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from validibot.workflows.rules import check_config


def check(config: dict[str, Any]) -> None:
    check_config(config, validator="EnergyPlus", engine="", validation_type="ENERGYPLUS")


@pytest.mark.parametrize(
    ("name", "value", "limit"),
    [
        ("run_period_days", 0, 1),
        ("run_period_days", -5, 1),
        ("run_period_days", 10**9, 366),
        ("timestep_per_hour", 0, 1),
        ("timestep_per_hour", 61, 60),
    ],
)
def test_option_out_of_range_is_refused_by_name(name: str, value: int, limit: int) -> None:
    with pytest.raises(ValidationError) as caught:
        check({name: value})

    (message,) = caught.value.message_dict["config"]
    assert message.startswith(f"`{name}`")
    assert message.endswith(f"equal to {limit}, not {value}.")


@pytest.mark.parametrize("days", [None, 1, 366])
def test_option_within_range_is_accepted(days: int | None) -> None:
    check({"run_period_days": days, "timestep_per_hour": 60})
