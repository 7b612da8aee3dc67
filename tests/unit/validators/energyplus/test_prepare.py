"""Working copy of a model."""

import json
from pathlib import Path
from typing import Any

import pytest
from validibot_shared.energyplus.envelopes import EnergyPlusInputEnvelope, EnergyPlusInputs
from validibot_shared.validations.envelopes import Severity

from validators.energyplus.model import Model, read_model
from validators.energyplus.prepare import REPORTS, prepare
from validators.energyplus.validate import validate
from validators.sdk.validation import ValidationRequest

MODEL = "Version,25.2;Timestep,6;RunPeriod,All,3,1,,12,31,,Sunday;RunPeriod,B,1,1,,1,2;Zone,Office;"
SUMMARIES = "Output:Table:SummaryReports"


def prepared(idf: str = MODEL, **inputs: object) -> Model:
    model = read_model(idf, epjson=False)
    prepare(model, EnergyPlusInputs.model_validate(inputs))
    return read_model(model.dump().decode(), epjson=False)


def values(model: Model, kind: str) -> list[tuple[str, ...]]:
    return [item.values for item in model.of_kind(kind)]


def changes(idf: str, **inputs: object) -> list[str]:
    messages = prepare(read_model(idf, epjson=False), EnergyPlusInputs.model_validate(inputs))
    assert {message.severity for message in messages} <= {Severity.INFO}
    return [
        message.text.removeprefix("The working copy of the model differs: ") for message in messages
    ]


def test_unset_options_change_nothing() -> None:
    model = prepared()

    for kind in ("Timestep", "RunPeriod", "Zone"):
        assert values(model, kind) == values(read_model(MODEL, epjson=False), kind)


def test_timestep_of_step_replaces_timestep_of_model() -> None:
    assert values(prepared(timestep_per_hour=2), "Timestep") == [("2",)]
    assert values(prepared("Zone,Office;", timestep_per_hour=2), "Timestep") == [("2",)]


@pytest.mark.parametrize("present", ["", "Output:SQLite,Simple;", "Output:SQLite;"])
def test_database_is_requested_once_without_unit_conversion(present: str) -> None:
    assert values(prepared(MODEL + present), "Output:SQLite") == [("SimpleAndTabular", "None")]


@pytest.mark.parametrize("present", ["", "EnvelopeSummary", REPORTS[1], "AllMonthly"])
def test_missing_reports_join_the_one_summary_object(present: str) -> None:
    idf = f"{MODEL}{SUMMARIES},{present};" if present else MODEL

    (reports,) = values(prepared(idf), SUMMARIES)

    missing = [name for name in REPORTS if name != present]
    assert reports == tuple(filter(None, [present, *missing]))


@pytest.mark.parametrize(
    "present",
    [
        "AllSummary",
        "allsummaryandmonthly",
        "AllSummaryAndSizingPeriod",
        "AllSummaryMonthlyAndSizingPeriod",
    ],
)
def test_all_summaries_need_no_further_reports(present: str) -> None:
    assert values(prepared(f"{MODEL}{SUMMARIES},{present};"), SUMMARIES) == [(present,)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("No,No,No,Yes,Yes,No", "No,No,No,Yes,Yes,Yes"),
        ("No,No,No,Yes,no", "No,No,No,Yes,Yes"),
        ("Yes," * 16 + "No", "Yes," * 16 + "Yes"),
        ("Yes", "Yes"),
    ],
)
def test_files_that_are_read_are_switched_on(fields: str, expected: str) -> None:
    model = prepared(f"{MODEL}OutputControl:Files,{fields};")

    assert values(model, "OutputControl:Files") == [tuple(expected.split(","))]


def test_window_variables_are_requested_for_models_with_windows() -> None:
    assert not prepared().of_kind("Output:Variable")
    assert prepared(MODEL + "FenestrationSurface:Detailed,W;").of_kind("Output:Variable")


def test_shortened_run_keeps_rest_of_first_run_period() -> None:
    assert values(prepared(run_period_days=31), "RunPeriod") == [
        ("All", "3", "1", "", "3", "31", "", "Sunday")
    ]


@pytest.mark.parametrize(
    ("period", "days", "expected"),
    [
        ("RunPeriod,A,12,31,2017,12,31,2017;", 2, "A,12,31,2017,1,1,2018"),
        ("RunPeriod,A,12,31,,12,31;", 2, "A,12,31,2023,1,1,2024"),
        ("RunPeriod,A,x,31,,12,31;", 1, "A,1,1,,1,1"),
        ("", 31, "Shortened,1,1,2023,1,31,2023"),
    ],
)
def test_end_of_shortened_run_is_counted_in_days(period: str, days: int, expected: str) -> None:
    model = prepared(f"Zone,Office;{period}", run_period_days=days)

    assert values(model, "RunPeriod") == [tuple(expected.split(","))]


def test_model_without_simulation_keeps_its_outputs() -> None:
    assert changes(MODEL, run_simulation=False) == []


def test_each_change_is_told_with_old_and_new_value() -> None:
    idf = f"{MODEL}Output:SQLite,Simple,JtoKWH;{SUMMARIES},AllSummary;"

    assert changes(idf, timestep_per_hour=2, run_period_days=7) == [
        "Timestep: number_of_timesteps_per_hour = 2 (was 6) (the step's option `timestep_per_hour`).",
        (
            "RunPeriod: 2023-03-01 to 2023-03-07 (the step's option `run_period_days` is 7); "
            "other run periods removed: 1."
        ),
        (
            "Output:SQLite: option_type = SimpleAndTabular (was Simple), "
            "unit_conversion_for_tabular_data = None (was JtoKWH) (the results are read from it)."
        ),
        "added Output:Meter for every meter.",
    ]


def test_additions_are_one_message() -> None:
    (added,) = changes(MODEL + "FenestrationSurface:Detailed,W;")

    assert all(kind in added for kind in ("SQLite", "SummaryReports", "Meter", "Variable"))


def test_option_equal_to_model_changes_nothing() -> None:
    assert not any("Timestep" in text for text in changes(MODEL, timestep_per_hour=6))


def test_epjson_is_changed_likewise() -> None:
    model = read_model(
        json.dumps(
            {
                "Zone": {"Office": {}},
                "Output:SQLite": {"S": {"option_type": "Simple"}},
                SUMMARIES: {"R": {"reports": [{"report_name": "EnvelopeSummary"}]}},
                "OutputControl:Files": {"F": {"output_sqlite": "No"}},
            }
        ),
        epjson=True,
    )

    prepare(model, EnergyPlusInputs(run_period_days=2))

    written = json.loads(model.dump())
    assert written["Output:SQLite"]["S"] == {
        "option_type": "SimpleAndTabular",
        "unit_conversion_for_tabular_data": "None",
    }
    assert [each["report_name"] for each in written[SUMMARIES]["R"]["reports"]] == [
        "EnvelopeSummary",
        *REPORTS,
    ]
    assert written["OutputControl:Files"]["F"] == {"output_sqlite": "Yes"}
    assert written["RunPeriod"]["Shortened"]["end_day_of_month"] == 2


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"run_period_days": 0}, "`run_period_days` is 0; it must be between 1 and 366."),
        ({"timestep_per_hour": 7}, "`timestep_per_hour` is 7; it must be one of 1, 2, 3, 4, 5, 6,"),
        ({"invocation_mode": "python_api"}, "is 'python_api'; it must be 'cli'."),
    ],
)
def test_option_out_of_range_is_refused_before_simulation(
    tmp_path: Path, option: dict[str, Any], reason: str
) -> None:
    envelope = EnergyPlusInputEnvelope.model_construct(inputs=EnergyPlusInputs(**option))

    result = validate(ValidationRequest(envelope=envelope, files={}, folder=tmp_path, deadline=0))

    (message,) = result.messages
    assert (message.code, result.status.value) == ("ENERGYPLUS_OPTION_INVALID", "failed_runtime")
    assert reason in message.text
