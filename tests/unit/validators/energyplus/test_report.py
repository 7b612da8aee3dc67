"""Messages and completion from the engine's reports."""

from pathlib import Path

import pytest
from validibot_shared.validations.envelopes import Severity

from validators.energyplus import report as reports
from validators.energyplus.model import read_model
from validators.energyplus.report import Report, read_report
from validators.energyplus.submitted import SubmittedModel

MODEL = """Version,25.2;
Zone,Open Office;
Schedule:Constant,Heating Setpoint,,30;
FenestrationSurface:Detailed,
  Win 1,Window,Nope;
Output:SQLite,Simple;
Output:SQLite,None;
Schedule:Constant,Twice,,1;
Schedule:Constant,Twice,,2;
"""
ERR = """Program Version,EnergyPlus, Version 25.2.0-cf7368216c, YMD=2026.11.22 05:41,
   ** Warning ** CheckUsedConstructions: There are 1 nominally unused constructions.
   ************* Beginning Simulation
   ** Severe  ** Node Connection Error, Node="X"
   **   ~~~   ** Object A lists it as outlet,
   **   ~~~   ** but nobody as inlet.
   **  Fatal  ** Errors found; program terminates.
   ...Summary of Errors that led to program termination:
   ************* ===== Recurring Error Summary =====
   ************* The following recurring error messages occurred.
   *************
   *************  ** Warning ** Coil:Cooling:DX:SingleSpeed="COIL 1" - Low temperature continues...
   *************  **   ~~~   **   This error occurred 56 total times;
   *************  **   ~~~   **   during Warmup 0 times;
"""
NOT_GENERATED = """   ** Warning ** The following Report Variables were requested but not generated -- check.rdd
   **   ~~~   ** Either the IDF did not contain these elements.
   ************* Key=*, VarName=ZONE WINDOWS TOTAL HEAT GAIN ENERGY, Frequency=RunPeriod
"""
CARBON = (
    "   ** Warning ** GetPollutionFactorInput: Requested reporting for Carbon Equivalent Pollution, "
    "but insufficient information is entered.\n   **   ~~~   ** Both must be entered.\n"
)


def report(folder: Path, *, err: str, end: str = "", model: str = MODEL) -> Report:
    (folder / "eplusout.err").write_text(err)
    (folder / "eplusout.end").write_text(end)
    return read_report(folder, SubmittedModel(read_model(model, epjson=False)))


def test_levels_map_to_severities_and_codes(tmp_path: Path) -> None:
    messages = report(tmp_path, err=ERR).messages

    assert [(message.severity, message.code) for message in messages] == [
        (Severity.WARNING, "ENERGYPLUS_WARNING"),
        (Severity.ERROR, "ENERGYPLUS_SEVERE"),
        (Severity.ERROR, "ENERGYPLUS_FATAL"),
        (Severity.WARNING, "ENERGYPLUS_WARNING"),
    ]


def test_continuation_lines_belong_to_their_message(tmp_path: Path) -> None:
    severe = report(tmp_path, err=ERR).messages[1]

    assert severe.text.splitlines() == [
        'Node Connection Error, Node="X"',
        "Object A lists it as outlet,",
        "but nobody as inlet.",
    ]


def test_recurring_messages_have_their_totals(tmp_path: Path) -> None:
    found = report(tmp_path, err=ERR)

    assert found.counts["Warning"] == 2
    assert found.messages[-1].text.splitlines()[1:] == [
        "This error occurred 56 total times;",
        "during Warmup 0 times;",
    ]


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        (
            'FenestrationSurface:Detailed="WIN 1", invalid Construction Name="NOPE".',
            "FenestrationSurface:Detailed/Win 1/Construction Name",
            4,
        ),
        (
            "ProcessScheduleInput: Schedule:Constant = HEATING SETPOINT",
            "Schedule:Constant/Heating Setpoint",
            3,
        ),
        ("It occurs in Zone=OPEN OFFICE During Warmup, at 12/21", "Zone/Open Office", 2),
        ('The zone "Open Office" has no air.', "Zone/Open Office", 2),
        (
            "<root>[FenestrationSurface:Detailed][Win 1] - Missing required property 'x'.",
            "FenestrationSurface:Detailed/Win 1",
            4,
        ),
        (
            'FenestrationSurface:Detailed="WIN 1", invalid construction_name="NOPE".',
            "FenestrationSurface:Detailed/Win 1/construction_name",
            4,
        ),
        (
            "<root>[Output:SQLite][Output:SQLite 1][option_type] - Wrong.",
            "Output:SQLite/Output:SQLite 1/option_type",
            6,
        ),
        (
            "<root>[Output:SQLite] - Object should have no more than 1 properties.",
            "Output:SQLite",
            7,
        ),
        ("<root>[Output:SQLite][Output:SQLite 9] - Wrong.", "Output:SQLite/Output:SQLite 9", None),
        ("<root> - Missing required property 'Building'.", None, None),
        (
            'Duplicate name found for object of type "Schedule:Constant" named "Twice". Overwriting.',
            "Schedule:Constant/Twice",
            9,
        ),
        ("<root>[Zone][Elsewhere][volume] - Value is wrong.", "Zone/Elsewhere/volume", None),
        ('Line: 4 Index: 1 - "Zonne" is not a valid Object Type.', None, 4),
        ("Program terminates due to above conditions.", None, None),
    ],
)
def test_message_is_located_in_submitted_model(
    tmp_path: Path, text: str, path: str | None, line: int | None
) -> None:
    location = report(tmp_path, err=f"   ** Severe  ** {text}\n").messages[0].location

    assert (location and location.path, location and location.line) == (path, line)


def test_line_of_expanded_model_is_not_that_of_submitted_file(tmp_path: Path) -> None:
    (tmp_path / "eplusout.err").write_text("   ** Severe  ** Line: 4 Index: 1 - Wrong.\n")
    submitted = SubmittedModel(read_model(MODEL, epjson=False), same_lines=False)

    location = read_report(tmp_path, submitted).messages[0].location

    assert location
    assert (location.path, location.line) == ("line 4 of the expanded model", None)


def test_first_line_has_engine_version(tmp_path: Path) -> None:
    found = report(tmp_path, err=ERR)

    assert (found.version, found.build) == ("25.2.0", "cf7368216c")


def test_completion_needs_end_file(tmp_path: Path) -> None:
    end = "EnergyPlus Completed Successfully-- 3 Warning; 0 Severe Errors; Elapsed Time=1sec"

    assert report(tmp_path, err=ERR, end=end).completed
    assert not report(tmp_path, err=ERR).completed


def test_terminated_run_is_not_completed(tmp_path: Path) -> None:
    end = "EnergyPlus Terminated--Fatal Error Detected. 0 Warning; 2 Severe Errors; Elapsed Time"

    found = report(tmp_path, err=ERR, end=end)

    assert not found.completed
    assert found.counts["Severe"] == 2


def test_messages_of_one_rule_become_one_finding(tmp_path: Path) -> None:
    lines = [f'   ** Warning ** Surface="WALL {n}" is {n}.5 m high.\n' for n in range(500)]

    found = report(tmp_path, err="".join([*lines, "   ** Severe  ** late\n"]))

    assert found.counts["Warning"] == 500
    assert [message.text.splitlines()[-1] for message in found.messages] == [
        (
            "The engine reports this 500 times. Others are about "
            "WALL 1, WALL 2, WALL 3, WALL 4, WALL 5, WALL 6, WALL 7, WALL 8, WALL 9."
        ),
        "late",
    ]


def test_excess_findings_are_counted(tmp_path: Path) -> None:
    names = [chr(97 + n // 26) + chr(97 + n % 26) for n in range(600)]

    found = report(tmp_path, err="".join(f"   ** Warning ** {name} is odd\n" for name in names))

    assert len(found.messages) == 301
    assert found.messages[-1].text == "300 further messages are in eplusout.err."


def test_large_report_is_read_at_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "_READ_LIMIT", 1000)
    end = "EnergyPlus Completed Successfully-- 9000 Warning; 1 Severe Errors; Elapsed Time=1sec"

    found = report(tmp_path, err=ERR + "   ** Warning ** again\n" * 9000 + ERR, end=end)

    assert found.counts["Warning"] == 9000
    assert sum("56 total times" in message.text for message in found.messages) == 2
    assert found.messages[-1].code == "ENERGYPLUS_REPORT_CUT"


@pytest.mark.parametrize(
    ("model", "own"),
    [
        (MODEL, True),
        (MODEL + "Output:Meter,*,Monthly;", False),
        (MODEL + "Output:Meter,Carbon Equivalent:Facility,Monthly;", False),
    ],
)
def test_messages_of_our_requests_are_left_out(tmp_path: Path, model: str, own: bool) -> None:
    end = "EnergyPlus Completed Successfully-- 1 Warning; 0 Severe Errors; Elapsed Time=1sec"

    found = report(tmp_path, err=CARBON + NOT_GENERATED, end=end, model=model)

    assert (found.counts["Warning"], len(found.messages)) == ((0, 0) if own else (1, 1))


def test_missing_variables_of_model_are_reported(tmp_path: Path) -> None:
    theirs = "   ************* Key=*, VarName=FANCY TEMPERATURE, Frequency=Hourly\n"

    text = report(tmp_path, err=NOT_GENERATED + theirs).messages[0].text

    assert text.splitlines()[2:] == ["Key=*, VarName=FANCY TEMPERATURE, Frequency=Hourly"]


def test_missing_files_give_empty_report(tmp_path: Path) -> None:
    found = read_report(tmp_path, SubmittedModel(read_model(MODEL, epjson=False)))

    assert (found.messages, found.completed, found.tail) == ([], False, None)
