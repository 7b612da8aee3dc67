"""Status and outputs of a finished run."""

from pathlib import Path

import pytest
from validibot_shared.energyplus.envelopes import EnergyPlusInputs, EnergyPlusOutputs
from validibot_shared.validations.envelopes import ValidationStatus

from validators.energyplus.engine import EnergyPlusEngine
from validators.energyplus.outcome import conclude
from validators.sdk.process import Ended
from validators.sdk.validation import ValidationResult

COMPLETED = "EnergyPlus Completed Successfully-- 0 Warning; 0 Severe Errors; Elapsed Time=1sec"
SUCCESS, FAILED_VALIDATION, FAILED_RUNTIME = (
    ValidationStatus.SUCCESS,
    ValidationStatus.FAILED_VALIDATION,
    ValidationStatus.FAILED_RUNTIME,
)


def conclusion(
    folder: Path, *, returncode: int = 0, end: str = COMPLETED, err: str = "", **more: object
) -> ValidationResult:
    (folder / "Energy+.idd").write_text("!IDD_Version 25.2.0\n!IDD_BUILD cf7368216c\n")
    (folder / "eplusout.end").write_text(end)
    (folder / "eplusout.err").write_text(err)
    timed_out = bool(more.pop("timed_out", False))
    stderr = str(more.pop("stderr", ""))
    return conclude(
        Ended(
            returncode=returncode,
            seconds=1.5,
            timed_out=timed_out,
            stdout_tail="",
            stderr_tail=stderr,
        ),
        folder=folder,
        inputs=EnergyPlusInputs.model_validate(more),
        engine=EnergyPlusEngine(binary=folder / "energyplus"),
        idf_version="25.2",
        review=[],
    )


@pytest.mark.parametrize(
    ("facts", "status", "code"),
    [
        ({}, SUCCESS, None),
        ({"err": "   ** Warning ** fine\n"}, SUCCESS, "ENERGYPLUS_WARNING"),
        ({"err": "   ** Severe  ** bad\n"}, FAILED_VALIDATION, "ENERGYPLUS_SEVERE"),
        ({"end": ""}, FAILED_VALIDATION, "ENERGYPLUS_INCOMPLETE"),
        ({"returncode": 1, "end": ""}, FAILED_VALIDATION, "ENERGYPLUS_INCOMPLETE"),
        ({"returncode": -11, "end": ""}, FAILED_RUNTIME, "ENERGYPLUS_CRASHED"),
        ({"returncode": -15, "timed_out": True}, FAILED_RUNTIME, "ENERGYPLUS_TIMEOUT"),
        (
            {"review_profile": "leed_review"},
            FAILED_VALIDATION,
            "ENERGYPLUS_REVIEW_EVIDENCE_MISSING",
        ),
    ],
)
def test_engine_exit_decides_status(
    tmp_path: Path, facts: dict[str, object], status: ValidationStatus, code: str | None
) -> None:
    result = conclusion(tmp_path, **facts)  # type: ignore[arg-type]

    assert result.status is status
    assert (result.messages[0].code if result.messages else None) == code


def test_out_of_memory_is_reported(tmp_path: Path) -> None:
    result = conclusion(tmp_path, returncode=-6, stderr="terminate ... 'std::bad_alloc'")

    assert "out of memory" in result.messages[0].text


def test_typed_outputs_are_complete(tmp_path: Path) -> None:
    outputs = conclusion(tmp_path, err="   ** Warning ** fine\n").outputs

    assert isinstance(outputs, EnergyPlusOutputs)
    assert (outputs.idd_version, outputs.idd_build) == ("25.2.0", "cf7368216c")
    assert (outputs.warning_count, outputs.completed_successfully) == (1, True)
    assert (outputs.has_err_output, outputs.has_sql_output) == (True, False)
    assert outputs.outputs.eplusout_err == Path("outputs/eplusout.err")


def test_broken_database_loses_metrics_only(tmp_path: Path) -> None:
    (tmp_path / "eplusout.sql").write_bytes(b"garbage" * 100)

    result = conclusion(tmp_path)

    assert result.status is SUCCESS
    assert result.outputs.metrics.site_eui_kwh_m2 is None
