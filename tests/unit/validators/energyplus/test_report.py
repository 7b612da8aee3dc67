"""Messages and completion from the engine's reports."""

from pathlib import Path

from validibot_shared.validations.envelopes import Severity

from validators.energyplus.report import Report, read_report

ERR = """Program Version,EnergyPlus, Version 25.2.0-cf7368216c, YMD=2026.11.22 05:41,
   ** Warning ** CheckUsedConstructions: There are 1 nominally unused constructions.
   ************* Beginning Simulation
   ** Severe  ** Node Connection Error, Node="X"
   **   ~~~   ** Object A lists it as outlet,
   **   ~~~   ** but nobody as inlet.
   **  Fatal  ** Errors found; program terminates.
   ...Summary of Errors that led to program termination:
"""


def report(folder: Path, *, err: str, end: str = "") -> Report:
    (folder / "eplusout.err").write_text(err)
    (folder / "eplusout.end").write_text(end)
    return read_report(folder)


def test_levels_map_to_severities_and_codes(tmp_path: Path) -> None:
    messages = report(tmp_path, err=ERR).messages

    assert [(message.severity, message.code) for message in messages] == [
        (Severity.WARNING, "ENERGYPLUS_WARNING"),
        (Severity.ERROR, "ENERGYPLUS_SEVERE"),
        (Severity.ERROR, "ENERGYPLUS_FATAL"),
    ]


def test_continuation_lines_belong_to_their_message(tmp_path: Path) -> None:
    severe = report(tmp_path, err=ERR).messages[1]

    assert severe.text.splitlines() == [
        'Node Connection Error, Node="X"',
        "Object A lists it as outlet,",
        "but nobody as inlet.",
    ]


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


def test_excess_messages_are_counted(tmp_path: Path) -> None:
    found = report(tmp_path, err="   ** Warning ** again\n" * 5000 + "   ** Severe  ** late\n")

    assert found.counts["Warning"] == 5000
    assert found.messages[-2].text == "late"
    assert found.messages[-1].text == "4800 further messages are in eplusout.err."


def test_missing_files_give_empty_report(tmp_path: Path) -> None:
    found = read_report(tmp_path)

    assert (found.messages, found.completed, found.tail) == ([], False, None)
