"""Working copy of a model: the step's options, and requests for the reports that are read later."""

from datetime import date, timedelta

from validibot_shared.energyplus.envelopes import EnergyPlusInputs

from validators.energyplus.model import Fields, Model
from validators.energyplus.requested import METERS, REPORTS, WINDOW_VARIABLES

_WINDOWS = ("fenestrationsurface", "window", "glazeddoor")
_DEFAULT_YEAR = 2023


def prepare(model: Model, inputs: EnergyPlusInputs) -> None:
    """Edit the model for its run."""
    model.replace("Timestep", {"number_of_timesteps_per_hour": inputs.timestep_per_hour})
    if not inputs.run_simulation:
        return
    if inputs.run_period_days:
        _shorten_run(model, days=inputs.run_period_days)
    model.replace(
        "Output:SQLite",
        {"option_type": "SimpleAndTabular", "unit_conversion_for_tabular_data": "None"},
    )
    _ask_for_reports(model)
    model.add("Output:Meter", METERS)
    if any(item.kind.lower().split(":")[0] in _WINDOWS for item in model.objects):
        # The engine warns about these variables in a model without windows.
        for name in WINDOW_VARIABLES:
            model.add("Output:Variable", _variable(name))


def _ask_for_reports(model: Model) -> None:
    present = {
        value.lower()
        for item in model.of_kind("Output:Table:SummaryReports")
        for field in item.values
        for value in field.split()
    }
    missing = [name for name in REPORTS if name.lower() not in present]
    if missing and not present & {"allsummary", "allsummaryandmonthly"}:
        reports = [{"report_name": name} for name in missing]
        model.add("Output:Table:SummaryReports", {"reports": reports})


def _variable(name: str) -> Fields:
    return {"key_value": "*", "variable_name": name, "reporting_frequency": "RunPeriod"}


def _shorten_run(model: Model, *, days: int) -> None:
    """Replace the run periods by one of `days` days from the begin of the first."""
    begin = _begin(model)
    end = begin + timedelta(days=days - 1)
    model.replace(
        "RunPeriod",
        {
            "name": "Shortened",
            "begin_month": begin.month,
            "begin_day_of_month": begin.day,
            "begin_year": begin.year,
            "end_month": end.month,
            "end_day_of_month": end.day,
            "end_year": end.year,
        },
    )


def _begin(model: Model) -> date:
    for item in model.of_kind("RunPeriod"):
        month, day, year = (
            item.value(1, "begin_month"),
            item.value(2, "begin_day_of_month"),
            item.value(3, "begin_year"),
        )
        try:
            return date(int(year or _DEFAULT_YEAR), int(month), int(day))
        except ValueError:
            break
    return date(_DEFAULT_YEAR, 1, 1)
