"""Design days of the weather, for models that size equipment automatically and have none.

A DDY file is IDF with many SizingPeriod:DesignDay objects, whose names follow ASHRAE's conditions. Of
these, the annual heating day of 99.6 % and the annual cooling day of 0.4 % size a system.
"""

import re
from pathlib import Path
from typing import Any

from validibot_shared.validations.envelopes import Severity, ValidationMessage

from validators.energyplus.model import Fields, Model, ModelObject, read_model
from validators.energyplus.text import ModelUnreadable, read_text

_KIND = "SizingPeriod:DesignDay"
_WANTED = re.compile(r"Ann Htg 99\.6% Condns DB|Ann Clg 0?\.4% Condns DB=>MWB", re.IGNORECASE)
# In the order of EnergyPlus's data dictionary (25.2).
_KEYS = (
    *("name", "month", "day_of_month", "day_type", "maximum_dry_bulb_temperature"),
    *("daily_dry_bulb_temperature_range", "dry_bulb_temperature_range_modifier_type"),
    *("dry_bulb_temperature_range_modifier_day_schedule_name", "humidity_condition_type"),
    *("wetbulb_or_dewpoint_at_maximum_dry_bulb", "humidity_condition_day_schedule_name"),
    *("humidity_ratio_at_maximum_dry_bulb", "enthalpy_at_maximum_dry_bulb"),
    *("daily_wet_bulb_temperature_range", "barometric_pressure", "wind_speed", "wind_direction"),
    *("rain_indicator", "snow_indicator", "daylight_saving_time_indicator"),
    *("solar_model_indicator", "beam_solar_day_schedule_name", "diffuse_solar_day_schedule_name"),
    "ashrae_clear_sky_optical_depth_for_beam_irradiance_taub_",
    "ashrae_clear_sky_optical_depth_for_diffuse_irradiance_taud_",
    *("sky_clearness", "maximum_number_warmup_days", "begin_environment_reset_mode"),
)


def is_unsized(model: Model) -> bool:
    """Return whether the model sizes equipment automatically and has no sizing period."""
    sized = any(value.lower() == "autosize" for item in model.objects for value in item.values)
    return sized and not any(
        item.kind.lower().startswith("sizingperiod:") for item in model.objects
    )


def add_design_days(model: Model, ddy: Path | None) -> list[ValidationMessage]:
    """Add the design days of a DDY file to a model that needs some; say so in an INFO message."""
    if ddy is None or not is_unsized(model):
        return []
    days = _read(ddy)
    for day in days:
        model.add(_KIND, _fields(day))
    if not days:
        text = (
            f"{ddy.name} has no design day of 99.6 % heating or 0.4 % cooling; the model sizes "
            "equipment automatically and has no sizing period. Add SizingPeriod:DesignDay objects."
        )
        return [
            ValidationMessage(
                severity=Severity.WARNING, code="ENERGYPLUS_DESIGN_DAYS_MISSING", text=text
            )
        ]
    names = ", ".join(day.values[0] for day in days)
    text = (
        f"The working copy of the model has the design days {names} of {ddy.name}, because it sizes "
        "equipment automatically and has no sizing period."
    )
    return [
        ValidationMessage(severity=Severity.INFO, code="ENERGYPLUS_DESIGN_DAYS_ADDED", text=text)
    ]


def _read(ddy: Path) -> list[ModelObject]:
    try:
        text, _ = read_text(ddy.read_bytes())
        days = read_model(text, epjson=False).of_kind(_KIND)
    except ModelUnreadable:
        return []
    return [day for day in days if day.values and _WANTED.search(day.values[0])]


def _fields(day: ModelObject) -> Fields:
    return {key: _typed(value) for key, value in zip(_KEYS, day.values, strict=False)}


def _typed(value: str) -> Any:
    """Return a number for the text of one, as epJSON has it."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
