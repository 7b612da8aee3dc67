"""Working copy of a model."""

from validibot_shared.energyplus.envelopes import EnergyPlusInputs

from validators.energyplus.model import Model, read_model
from validators.energyplus.prepare import prepare
from validators.energyplus.requested import REPORTS

MODEL = "Version,25.2;Timestep,6;RunPeriod,All,3,1,,12,31;Zone,Office;"


def prepared(idf: str = MODEL, **inputs: object) -> Model:
    model = read_model(idf.encode(), epjson=False)
    prepare(model, EnergyPlusInputs.model_validate(inputs))
    return read_model(model.dump(), epjson=False)


def test_timestep_of_step_replaces_timestep_of_model() -> None:
    assert [item.values for item in prepared(timestep_per_hour=2).of_kind("Timestep")] == [("2",)]


def test_database_is_requested_without_unit_conversion() -> None:
    model = prepared(MODEL + "Output:SQLite,Simple;")

    assert [item.values for item in model.of_kind("Output:SQLite")] == [
        ("SimpleAndTabular", "None")
    ]


def test_missing_summary_reports_are_requested() -> None:
    model = prepared(MODEL + "Output:Table:SummaryReports,DemandEndUseComponentsSummary;")

    reports = [item.values for item in model.of_kind("Output:Table:SummaryReports")]
    assert set(reports[-1]) == set(REPORTS) - {"DemandEndUseComponentsSummary"}


def test_all_summary_needs_no_further_reports() -> None:
    model = prepared(MODEL + "Output:Table:SummaryReports,AllSummary;")

    assert len(model.of_kind("Output:Table:SummaryReports")) == 1


def test_window_variables_are_requested_for_models_with_windows() -> None:
    assert not prepared().of_kind("Output:Variable")
    assert prepared(MODEL + "FenestrationSurface:Detailed,W;").of_kind("Output:Variable")


def test_shortened_run_starts_at_first_run_period() -> None:
    (run,) = prepared(run_period_days=31).of_kind("RunPeriod")

    assert run.values == ("Shortened", "3", "1", "2023", "3", "31", "2023")


def test_model_without_simulation_gets_timestep_only() -> None:
    assert not prepared(run_simulation=False).of_kind("Output:SQLite")
