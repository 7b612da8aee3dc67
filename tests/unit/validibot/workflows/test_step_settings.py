"""Settings of a step, checked when it is saved."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from validibot.workflows.checks import check_config


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


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        (
            "timestep_per_hour",
            7,
            "7 does not divide 60; allowed: 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60.",
        ),
        ("invocation_mode", "python_api", "'python_api' is not available; allowed: 'cli'."),
    ],
)
def test_option_without_effect_is_refused_by_name(name: str, value: object, reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        check({name: value})

    assert caught.value.message_dict["config"] == [f"`{name}`: {reason}"]


def test_unknown_setting_error_lists_severities_among_allowed() -> None:
    with pytest.raises(ValidationError) as caught:
        check({"severities": {}})

    (message,) = caught.value.message_dict["config"]
    assert "is not a setting of EnergyPlus; allowed: `finding_severities`, " in message


@pytest.mark.parametrize("days", [None, 1, 366])
def test_option_within_range_is_accepted(days: int | None) -> None:
    check({"run_period_days": days, "timestep_per_hour": 60, "invocation_mode": "cli"})
