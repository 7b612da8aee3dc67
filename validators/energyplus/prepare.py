"""Working copy of a model: the step's options, and requests for the results that are read later.

The copy differs from the model only where it must; INFO messages tell the differences. Messages of
the engine that only our requests cause are known here, too.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from validibot_shared.energyplus.envelopes import EnergyPlusInputs
from validibot_shared.validations.envelopes import Severity, ValidationMessage

from validators.energyplus.checks import location_of
from validators.energyplus.model import Fields, Model, ModelField, ModelObject

REPORTS = (
    "AnnualBuildingUtilityPerformanceSummary",
    "DemandEndUseComponentsSummary",
    "InputVerificationandResultsSummary",
    "SystemSummary",
)
WINDOW_VARIABLES = (
    "Zone Windows Total Heat Gain Energy",
    "Zone Windows Total Heat Loss Energy",
    "Surface Window Transmitted Solar Radiation Energy",
)
# The engine warns about a meter that the model does not have, but never about all meters.
METERS: Fields = {"key_name": "*", "reporting_frequency": "RunPeriod"}

_MISSING_VARIABLE = rf"Key=\*, VarName=({'|'.join(WINDOW_VARIABLES)}), Frequency=RunPeriod"
_DOUBLE_METER = r'Output:Meter:MeterFileOnly requested for ".*" \(RunPeriod\), already on'
_POLLUTION = "GetPollutionFactorInput: Requested reporting for Carbon Equivalent Pollution"
_ASKS_FOR_POLLUTION = ("carbon", "environmental impact")


def own_messages(model: Model) -> list[re.Pattern[str]]:
    """Return patterns of the messages that only our requests cause, not the submitted model.

    All meters include that of carbon, which lacks its factors in most models; and a meter that the
    model sends to its own file is on both files with ours.
    """
    meters = [
        item for item in model.objects if re.match(r"output:meter(:|$)", item.kind, re.IGNORECASE)
    ]
    asked = [value.lower() for item in meters for value in item.values]
    variables = [
        value.lower() for item in model.of_kind("Output:Variable") for value in item.values
    ]
    patterns = [_MISSING_VARIABLE]
    wants_all = any(value.startswith("*") for value in asked)
    named = [*asked, *variables]
    if not wants_all and not any(value.startswith(_ASKS_FOR_POLLUTION) for value in named):
        patterns.append(_POLLUTION)
    kinds = {item.kind.lower() for item in meters}
    if kinds <= {"output:meter:meterfileonly"}:
        patterns.append(_DOUBLE_METER)
    return [re.compile(pattern, re.IGNORECASE) for pattern in patterns]


RUN_PERIOD_DAYS = range(1, 367)
"""Allowed values of `run_period_days`: a weather file has one year."""
TIMESTEPS = tuple(number for number in range(1, 61) if 60 % number == 0)
"""Allowed values of `timestep_per_hour`. The engine would replace others by the next lower one."""

_ALL_REPORTS = {
    "allsummary",
    "allsummaryandsizingperiod",
    "allsummaryandmonthly",
    "allsummarymonthlyandsizingperiod",
}
_WINDOWS = ("fenestrationsurface", "window", "glazeddoor")
_DEFAULT_YEAR = 2023

_TIMESTEP = ModelField(position=0, key="number_of_timesteps_per_hour")
_SQLITE = {
    ModelField(position=0, key="option_type"): "SimpleAndTabular",
    ModelField(position=1, key="unit_conversion_for_tabular_data"): "None",
}
_FILES = {
    ModelField(position=4, key="output_tabular"): "Yes",
    ModelField(position=5, key="output_sqlite"): "Yes",
    ModelField(position=16, key="output_end"): "Yes",
}
_BEGIN_MONTH = ModelField(position=1, key="begin_month")
_BEGIN_DAY = ModelField(position=2, key="begin_day_of_month")
_BEGIN_YEAR = ModelField(position=3, key="begin_year")
_END_MONTH = ModelField(position=4, key="end_month")
_END_DAY = ModelField(position=5, key="end_day_of_month")
_END_YEAR = ModelField(position=6, key="end_year")


@dataclass(frozen=True)
class _Change:
    """Change of an object that the model has, or addition of one."""

    text: str
    item: ModelObject | None = None


def prepare(model: Model, inputs: EnergyPlusInputs) -> list[ValidationMessage]:
    """Edit the model for its run; return a message for each change, and one for what was added.

    An option that nobody set changes nothing, whatever its default is.
    """
    changes = list(_changes(model, inputs))
    messages = [_message(change.text, change.item) for change in changes if change.item]
    if added := [change.text for change in changes if not change.item]:
        messages.append(_message(f"added {'; '.join(added)}"))
    return messages


def _changes(model: Model, inputs: EnergyPlusInputs) -> Iterator[_Change]:
    if "timestep_per_hour" in inputs.model_fields_set:
        steps = {_TIMESTEP: inputs.timestep_per_hour}
        yield from _set(model, "Timestep", steps, "the step's option `timestep_per_hour`")
    if not inputs.run_simulation:
        return
    if inputs.run_period_days is not None:
        yield _shorten_run(model, days=inputs.run_period_days)
    yield from _set(model, "Output:SQLite", _SQLITE, "the results are read from it")
    yield from _ask_for_reports(model)
    for item in model.of_kind("OutputControl:Files"):
        wanted = {field: "Yes" for field in _FILES if item.get(field).lower() == "no"}
        yield from _update(model, item, wanted, "these files are read after the run")
    model.add("Output:Meter", METERS)
    yield _Change("Output:Meter for every meter")
    if any(item.kind.lower().split(":")[0] in _WINDOWS for item in model.objects):
        # The engine warns about these variables in a model without windows.
        for name in WINDOW_VARIABLES:
            model.add("Output:Variable", _variable(name))
        yield _Change(f"Output:Variable for {', '.join(WINDOW_VARIABLES)}")


def _set(
    model: Model, kind: str, values: Mapping[ModelField, str | int], reason: str
) -> Iterator[_Change]:
    """Set fields of the one object of a class; it is added if there is none."""
    present = model.of_kind(kind)
    if present:
        # Of several, which are an error, the engine tells.
        yield from _update(model, present[0], values, reason)
    else:
        model.add(kind, {field.key: value for field, value in values.items()})
        texts = ", ".join(f"{field.key} = {value}" for field, value in values.items())
        yield _Change(f"{kind} with {texts} ({reason})")


def _update(
    model: Model, item: ModelObject, values: Mapping[ModelField, str | int], reason: str
) -> Iterator[_Change]:
    wanted = {
        field: value
        for field, value in values.items()
        if item.get(field).lower() != str(value).lower()
    }
    if not wanted:
        return
    model.update(item, wanted)
    texts = ", ".join(
        f"{field.key} = {value} (was {item.get(field) or 'empty'})"
        for field, value in wanted.items()
    )
    yield _Change(f"{item.kind}: {texts} ({reason})", item)


def _ask_for_reports(model: Model) -> Iterator[_Change]:
    present = model.of_kind("Output:Table:SummaryReports")
    names = {value.lower() for item in present for field in item.values for value in field.split()}
    missing = [name for name in REPORTS if name.lower() not in names]
    if not missing or names & _ALL_REPORTS:
        return
    reports: Sequence[Fields] = [{"report_name": name} for name in missing]
    if present:
        model.extend(present[0], "reports", reports)
    else:
        model.add("Output:Table:SummaryReports", {"reports": reports})
    verb = "Output:Table:SummaryReports: added" if present else "Output:Table:SummaryReports for"
    yield _Change(f"{verb} {', '.join(missing)}", present[0] if present else None)


def _variable(name: str) -> Fields:
    return {"key_value": "*", "variable_name": name, "reporting_frequency": "RunPeriod"}


def _shorten_run(model: Model, *, days: int) -> _Change:
    """Let the first run period last `days` days, and remove the others."""
    periods = model.of_kind("RunPeriod")
    begin = _begin(periods)
    end = begin + timedelta(days=days - 1)
    values: dict[ModelField, str | int] = {
        _BEGIN_MONTH: begin.month,
        _BEGIN_DAY: begin.day,
        _BEGIN_YEAR: begin.year,
        _END_MONTH: end.month,
        _END_DAY: end.day,
        _END_YEAR: end.year,
    }
    if not periods:
        fields = {field.key: value for field, value in values.items()}
        model.add("RunPeriod", {"name": "Shortened", **fields})
    else:
        if end.year == begin.year and not periods[0].get(_BEGIN_YEAR):
            # A year may contradict the weekday that the model gives its first day.
            del values[_BEGIN_YEAR], values[_END_YEAR]
        model.update(periods[0], values)
    for other in periods[1:]:
        model.remove(other)
    removed = f"; other run periods removed: {len(periods) - 1}" if len(periods) > 1 else ""
    return _Change(
        f"RunPeriod: {begin} to {end} (the step's option `run_period_days` is {days}){removed}",
        periods[0] if periods else None,
    )


def _begin(periods: Sequence[ModelObject]) -> date:
    for item in periods[:1]:
        year, month, day = (item.get(each) for each in (_BEGIN_YEAR, _BEGIN_MONTH, _BEGIN_DAY))
        try:
            return date(int(year or _DEFAULT_YEAR), int(month), int(day))
        except ValueError:
            break
    return date(_DEFAULT_YEAR, 1, 1)


def _message(text: str, item: ModelObject | None = None) -> ValidationMessage:
    return ValidationMessage(
        severity=Severity.INFO,
        code="ENERGYPLUS_MODEL_CHANGED",
        text=f"The working copy of the model differs: {text}.",
        location=location_of(item) if item else None,
    )
