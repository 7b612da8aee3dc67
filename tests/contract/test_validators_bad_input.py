"""Bad submissions: validators answer with findings."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
from validibot_shared.validations.envelopes import (
    Severity,
    ValidationOutputEnvelope,
    ValidationStatus,
)

from validators.energyplus.validate import VALIDATOR as ENERGYPLUS
from validators.fmu.validate import VALIDATOR as FMU
from validators.sdk.main import main
from validators.sdk.manifest import read_manifest
from validators.sdk.testing import write_envelope

SAMPLES = Path("validators/fmu/samples")
OFFICE = Path("validators/energyplus/samples/small_office_designday.idf").read_text()
FAILED_VALIDATION, FAILED_RUNTIME = (
    ValidationStatus.FAILED_VALIDATION,
    ValidationStatus.FAILED_RUNTIME,
)


def answer(folder: Path, slug: str, submission: Path, **options: Any) -> ValidationOutputEnvelope:
    validator: Any = {"energyplus": ENERGYPLUS, "fmu": FMU}[slug]
    manifest = read_manifest(Path("validators", slug))
    envelope = write_envelope(folder, manifest, submission, **options)
    main(validator, [envelope.as_uri()])
    stored = (folder / "output.json").read_bytes()
    assert b"Traceback" not in stored
    output: ValidationOutputEnvelope = validator.output_envelope.model_validate_json(stored)
    return output


def codes(output: ValidationOutputEnvelope) -> list[str | None]:
    """Return the codes of the errors."""
    return [message.code for message in output.messages if message.severity is Severity.ERROR]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "ENERGYPLUS_EMPTY_MODEL"),
        (b"Version,25.2;", "ENERGYPLUS_EMPTY_MODEL"),
        (bytes(range(256)) * 40, "ENERGYPLUS_NOT_TEXT"),
        (b"\xff\xfe garbage \xc3\x28", "ENERGYPLUS_UTF16"),
        (OFFICE.encode() + b"PythonPlugin:Instance,P,No,m,C;", "ENERGYPLUS_OBJECT_REFUSED"),
        (OFFICE.encode() + b"Schedule:File,S,Fraction,/etc/passwd,1,0;", "ENERGYPLUS_PATH_REFUSED"),
        (OFFICE[: len(OFFICE) // 2].encode(), "ENERGYPLUS_SEVERE"),
        (OFFICE.replace("Building,", "Building,a,b,c,d,e,").encode(), "ENERGYPLUS_SEVERE"),
    ],
)
def test_bad_idf_is_a_finding(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "model.idf").write_bytes(content)

    output = answer(tmp_path, "energyplus", tmp_path / "model.idf")

    assert output.status is FAILED_VALIDATION
    assert code in codes(output)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "ENERGYPLUS_INVALID_JSON"),
        (b"\xc3\x28", "ENERGYPLUS_INVALID_JSON"),
        (b"[" * 10_000, "ENERGYPLUS_INVALID_JSON"),
        (b"{}", "ENERGYPLUS_EMPTY_MODEL"),
        (b'{"Zone": {}}', "ENERGYPLUS_EMPTY_MODEL"),
    ],
)
def test_bad_epjson_is_a_finding(tmp_path: Path, content: bytes, code: str) -> None:
    (tmp_path / "model.epjson").write_bytes(content)

    output = answer(tmp_path, "energyplus", tmp_path / "model.epjson")

    assert (output.status, codes(output)) == (FAILED_VALIDATION, [code])


def test_model_is_checked_without_simulation(tmp_path: Path) -> None:
    (tmp_path / "model.idf").write_text(OFFICE)

    output = answer(
        tmp_path, "energyplus", tmp_path / "model.idf", inputs={"run_simulation": False}
    )

    assert output.status is ValidationStatus.SUCCESS


def test_long_simulation_is_ended(tmp_path: Path) -> None:
    annual = Path("validators/energyplus/samples/small_office.idf").read_text()
    (tmp_path / "model.idf").write_text(annual)

    output = answer(
        tmp_path,
        "energyplus",
        tmp_path / "model.idf",
        inputs={"timestep_per_hour": 60},
        timeout_seconds=1,
    )

    assert (output.status, codes(output)[0]) == (FAILED_RUNTIME, "ENERGYPLUS_TIMEOUT")


def rebuilt(folder: Path, rename: dict[str, str]) -> Path:
    """Write decay.fmu with renamed entries; an empty name drops one."""
    target = folder / "model.fmu"
    with zipfile.ZipFile(SAMPLES / "decay.fmu") as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if rename.get(name, name):
                new.writestr(rename.get(name, name), old.read(name))
    return target


@pytest.mark.parametrize(
    ("rename", "code"),
    [
        ({"modelDescription.xml": ""}, "FMU_NO_MODEL_DESCRIPTION"),
        ({"binaries/linux64/decay.so": "binaries/win64/decay.dll"}, "FMU_PLATFORM_MISMATCH"),
        ({"binaries/linux64/decay.so": ""}, "FMU_NO_BINARY"),
        ({"binaries/linux64/decay.so": "../decay.so"}, "FMU_PATH_REFUSED"),
    ],
)
def test_incomplete_fmu_is_a_finding(tmp_path: Path, rename: dict[str, str], code: str) -> None:
    output = answer(tmp_path, "fmu", rebuilt(tmp_path, rename))

    assert (output.status, codes(output)) == (FAILED_VALIDATION, [code])


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + b"\0" * 100])
def test_fmu_without_zip_format_is_a_finding(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.fmu").write_bytes(content)

    output = answer(tmp_path, "fmu", tmp_path / "model.fmu")

    assert (output.status, codes(output)) == (FAILED_VALIDATION, ["FMU_NOT_A_ZIP"])


@pytest.mark.parametrize(
    ("mode", "code"),
    [(1, "FMU_CRASHED"), (2, "FMU_TIMEOUT"), (3, "FMU_NOT_FINITE"), (4, "FMU_CRASHED")],
)
def test_misbehaving_native_code_is_a_finding(tmp_path: Path, mode: int, code: str) -> None:
    inputs = {"input_values": {"mode": mode}}
    seconds = 3 if code == "FMU_TIMEOUT" else 60

    output = answer(
        tmp_path, "fmu", SAMPLES / "crashing.fmu", inputs=inputs, timeout_seconds=seconds
    )

    assert (output.status, codes(output)) == (FAILED_VALIDATION, [code])


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"input_values": {"nobody": 1}}, "FMU_UNKNOWN_VARIABLE"),
        ({"output_variables": ["nobody"]}, "FMU_UNKNOWN_VARIABLE"),
        ({"input_values": {"rate": "fast"}}, "FMU_VALUE_REFUSED"),
        ({"input_values": {"level": 1}}, "FMU_VARIABLE_NOT_SETTABLE"),
        ({"input_values": {"rate": -1}}, "FMU_CALL_FAILED"),
        ({"simulation": {"start_time": 2, "stop_time": 1}}, "FMU_TIMES_REFUSED"),
        ({"simulation": {"stop_time": 1e9, "step_size": 1e-9}}, "FMU_TIMES_REFUSED"),
    ],
)
def test_unfitting_options_are_findings(tmp_path: Path, inputs: dict[str, Any], code: str) -> None:
    output = answer(tmp_path, "fmu", SAMPLES / "decay.fmu", inputs=inputs)

    assert (output.status, codes(output)) == (FAILED_VALIDATION, [code])


def test_fmu_is_simulated_with_step_options(tmp_path: Path) -> None:
    inputs = {"input_values": {"rate": 2.0, "start": 10.0}, "simulation": {"stop_time": 2.0}}

    output = answer(tmp_path, "fmu", SAMPLES / "decay.fmu", inputs=inputs)

    outputs: Any = output.outputs
    assert outputs.output_values["level"] == pytest.approx(10 * 2.718281828**-4)
    assert outputs.simulation_time_reached == 2.0
