"""Status and outputs of a finished run."""

import gzip
import re
from pathlib import Path

import pytest
from validibot_shared.energyplus.envelopes import EnergyPlusInputs, EnergyPlusOutputs
from validibot_shared.validations.envelopes import ValidationStatus

from validators.energyplus import artifacts
from validators.energyplus.engine import EnergyPlusEngine
from validators.energyplus.model import read_model
from validators.energyplus.outcome import EngineRun, conclude
from validators.energyplus.submitted import SubmittedModel
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
    ended = Ended(
        returncode=returncode, seconds=1.5, timed_out=timed_out, stdout_tail="", stderr_tail=stderr
    )
    return conclude(
        EngineRun(ended=ended, folder=folder, series=list),
        inputs=EnergyPlusInputs.model_validate(more),
        engine=EnergyPlusEngine(binary=folder / "energyplus"),
        submitted=SubmittedModel(read_model("Version,25.2;", epjson=False)),
        review=[],
    )


@pytest.mark.parametrize(
    ("facts", "status", "code"),
    [
        ({}, SUCCESS, "ENERGYPLUS_NO_RESULTS"),
        ({"err": "   ** Warning ** fine\n"}, SUCCESS, "ENERGYPLUS_WARNING"),
        ({"err": "   ** Severe  ** bad\n"}, FAILED_VALIDATION, "ENERGYPLUS_SEVERE"),
        ({"end": ""}, FAILED_VALIDATION, "ENERGYPLUS_INCOMPLETE"),
        (
            {"end": "", "err": "   ** Severe  ** bad\n"},
            FAILED_VALIDATION,
            "ENERGYPLUS_INCOMPLETE",
        ),
        ({"run_simulation": False}, SUCCESS, "ENERGYPLUS_NOT_SIMULATED"),
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
    tmp_path: Path, facts: dict[str, object], status: ValidationStatus, code: str
) -> None:
    result = conclusion(tmp_path, **facts)  # type: ignore[arg-type]

    assert result.status is status
    assert result.messages[0].code == code


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
    assert [message.code for message in result.messages] == ["ENERGYPLUS_NO_RESULTS"]


def test_read_only_run_is_not_completed(tmp_path: Path) -> None:
    outputs = conclusion(tmp_path, run_simulation=False).outputs

    assert not outputs.completed_successfully


def test_large_text_is_compressed_and_stays_an_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "COMPRESS_ABOVE", 1000)
    (tmp_path / "eplusout.eso").write_text("row\n" * 1000)

    artifacts.collect(tmp_path)  # as the validator does to begin the uploads
    result = conclusion(tmp_path)

    eso = next(artifact for artifact in result.artifacts if artifact.type == "eso")
    assert (eso.path.name, eso.mime_type) == ("eplusout.eso.gz", "application/gzip")
    assert gzip.decompress(eso.path.read_bytes()) == b"row\n" * 1000
    assert result.outputs.has_eso_output
    assert result.outputs.outputs.eplusout_eso == Path("outputs/eplusout.eso.gz")


def test_file_beyond_limit_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "SIZE_LIMIT", 1000)
    (tmp_path / "eplusout.mtr").write_text("row\n" * 1000)

    result = conclusion(tmp_path)

    assert result.messages[-1].code == "ENERGYPLUS_FILE_LEFT_OUT"
    assert "eplusout.mtr" not in {artifact.path.name for artifact in result.artifacts}


def test_every_output_of_engine_is_an_artifact(tmp_path: Path) -> None:
    names = {
        "eplusout.eio": "text/plain",
        "eplusout.rdd": "text/plain",
        "eplustbl.htm": "text/html",
        "epluszsz.csv": "text/csv",
        "eplusout.audit": "text/plain",
    }
    for name in names:
        (tmp_path / name).write_text("something")
    (tmp_path / "eplusout.mdd").touch()
    (tmp_path / "sqlite.err").write_text("not an output")

    found = {each.path.name: each.mime_type for each in conclusion(tmp_path).artifacts}

    # The helper writes the file with the end of the run.
    assert found == names | {"eplusout.end": "text/plain"}


@pytest.mark.parametrize("module", ["artifacts", "outcome", "report"])
def test_every_code_is_documented(module: str) -> None:
    source = Path(f"validators/energyplus/{module}.py").read_text()
    page = Path("docs/validators.md").read_text()

    codes = re.findall(r'"(ENERGYPLUS_[A-Z_]+)"', source)

    assert [code for code in codes if f"`{code}`" not in page] == []
