"""FMU validation of models with one fault each, built from C in FMI 2 and 3."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from validibot_shared.validations.envelopes import Severity, ValidationOutputEnvelope

from tests.fmus import BEHAVIOURS, FMI3_XML, FOLDER, build, fmi2_xml
from validators.fmu import trajectory
from validators.fmu.validate import VALIDATOR
from validators.sdk.main import main
from validators.sdk.manifest import read_manifest
from validators.sdk.testing import write_envelope

Answer = Callable[..., ValidationOutputEnvelope]


@pytest.fixture
def answer(tmp_path: Path) -> Answer:
    def run(fmu: Path | str, *further: Path, **options: Any) -> ValidationOutputEnvelope:
        path = build(tmp_path, fmu) if isinstance(fmu, str) else fmu
        manifest = read_manifest(Path("validators/fmu"))
        envelope = write_envelope(tmp_path, manifest, path, *further, **options)
        main(VALIDATOR, [envelope.as_uri()])
        stored = (tmp_path / "output.json").read_bytes()
        assert b"Traceback" not in stored
        assert str(tmp_path).encode() not in re.sub(rb'"(uri|.*_uri)": "[^"]*"', b"", stored)
        return VALIDATOR.output_envelope.model_validate_json(stored)

    return run


def options(behaviour: str = "NORMAL", **inputs: Any) -> dict[str, Any]:
    values = {"behaviour": BEHAVIOURS.index(behaviour), **inputs.pop("input_values", {})}
    return {"inputs": {"input_values": values, **inputs}}


def finding(output: ValidationOutputEnvelope, code: str) -> str:
    """Return the text of the only finding with a code."""
    (text,) = [message.text for message in output.messages if message.code == code]
    return text


def errors(output: ValidationOutputEnvelope) -> list[str | None]:
    return [message.code for message in output.messages if message.severity is Severity.ERROR]


def values(output: ValidationOutputEnvelope) -> dict[str, Any]:
    found: Any = output.outputs
    return dict(found.output_values)


@pytest.mark.parametrize(
    ("case", "code", "words"),
    [
        ("exit_step", "FMU_EXITED", "exit code 3 in fmi2DoStep at t = 0.6 s"),
        ("discard_step", "FMU_NO_ADVANCE", "stays at t = 0.6 s of 1 s"),
    ],
)
def test_foreign_fmu_with_fault_gets_named_error(
    answer: Answer, case: str, code: str, words: str
) -> None:
    output = answer(FOLDER / f"{case}.fmu", timeout_seconds=60)

    assert errors(output) == [code]
    assert words in finding(output, code)


def test_default_experiment_of_model_is_used(answer: Answer) -> None:
    output = answer(FOLDER / "default100.fmu")

    assert (errors(output), values(output)["tnow"]) == ([], 100.0)
    assert "from 0 to 100 s in steps of 1 s, tolerance 0.0001" in finding(output, "FMU_EXPERIMENT")


def test_transient_nan_is_located(answer: Answer) -> None:
    output = answer(FOLDER / "nanmid.fmu")

    found = [message for message in output.messages if message.code == "FMU_NOT_FINITE"]
    assert "'y' is NaN at t = 0.5 s" in " ".join(message.text for message in found)
    assert {message.location.path for message in found if message.location} >= {"y"}


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        ("CRASH", "FMU_CRASHED", "(SIGSEGV) in fmi2DoStep at t = 0.5 s"),
        ("EXIT", "FMU_EXITED", "exit code 0 in fmi2DoStep at t = 0.5 s"),
        ("NAN_MIDWAY", "FMU_NOT_FINITE", "'odd' is NaN at t = 0.5 s, the first of 2 samples"),
        ("TERMINATES", "FMU_ENDED_EARLY", "at t = 0.5 s, before 1 s"),
        ("FAILS", "FMU_CALL_FAILED", "fmi2DoStep failed with status 3 (error) at t = 0.5 s"),
        ("INFINITE", "FMU_NOT_FINITE", "'level' is infinity at t = 0.1 s"),
    ],
)
def test_faulty_model_gets_named_error(
    answer: Answer, behaviour: str, code: str, words: str
) -> None:
    output = answer(fmi2_xml(), **options(behaviour))

    assert errors(output) == [code]
    assert words in finding(output, code)


@pytest.mark.parametrize("behaviour", ["CRASH", "EXIT"])
def test_trajectory_up_to_end_of_process_is_kept(
    answer: Answer, tmp_path: Path, behaviour: str
) -> None:
    output = answer(fmi2_xml(), **options(behaviour))

    assert "its files have 6 samples" in finding(output, "FMU_TRAJECTORY_PARTIAL")
    assert {artifact.name for artifact in output.artifacts} == {
        "trajectory.csv",
        "trajectory.parquet",
    }
    *_, last = (tmp_path / "outputs/trajectory.csv").read_text().splitlines()
    assert last.startswith("0.5,")
    table = duckdb.read_parquet(str(tmp_path / "outputs/trajectory.parquet"))
    assert len(table.fetchall()) == 6


def test_endless_step_is_told_apart_from_slow_one(answer: Answer) -> None:
    output = answer(fmi2_xml(), timeout_seconds=3, **options("LOOP"))

    assert "did not return from fmi2DoStep since t = 0.5 s" in finding(output, "FMU_TIMEOUT")
    assert "trajectory.parquet" in {artifact.name for artifact in output.artifacts}


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        ("WARNS", "FMU_WARNING", "fmi2DoStep returned a warning at t = 0.5 s (5 times)"),
        ("REPORTS", "FMU_MODEL_MESSAGE", "(warning) at t = 0.5 s (5 times): the level is low"),
    ],
)
def test_warning_of_model_becomes_message(
    answer: Answer, behaviour: str, code: str, words: str
) -> None:
    output = answer(fmi2_xml(), **options(behaviour))

    assert errors(output) == []
    assert words in finding(output, code)


def test_all_output_types_of_fmi_2_are_reported(answer: Answer, tmp_path: Path) -> None:
    given = {"mode": "on", "flag": True, "text": "ä,b", "input": {"value": -272.15, "unit": "degC"}}

    output = answer(fmi2_xml(), **options(input_values=given))

    assert errors(output) == []
    assert values(output) == {
        "level": pytest.approx(1.0),
        "time": pytest.approx(1.0),
        "odd": 1.0,
        "steps": 10,
        "mode_out": 2,
        "flag_out": True,
        "text_out": "ä,b",
    }
    lines = (tmp_path / "outputs/trajectory.csv").read_text().splitlines()
    assert lines[0] == "time [s],level [m],time,odd,steps,mode_out,flag_out,text_out"
    assert lines[1] == '0.0,0.0,0.0,1.0,0,2,True,"ä,b"'
    assert len(lines) == 12
    table = duckdb.read_parquet(str(tmp_path / "outputs/trajectory.parquet"))
    assert (table.columns[:2], [str(kind) for kind in table.types[-3:]]) == (
        ["time [s]", "level [m]"],
        ["BIGINT", "BOOLEAN", "VARCHAR"],
    )
    assert len(table.fetchall()) == 11


def test_all_output_types_of_fmi_3_are_reported(answer: Answer, tmp_path: Path) -> None:
    output = answer(build(tmp_path, FMI3_XML, fmi=3), **options(input_values={"small": 3.0}))

    assert errors(output) == []
    assert values(output) == {
        "level": pytest.approx(1.0),
        "table": [[1, 2, 3], [4, 5, 6]],
        "steps": 10,
        "mode_out": 1,
        "flag_out": False,
        "text_out": "abc",
        "bytes_out": "YWJj",
    }
    header = (tmp_path / "outputs/trajectory.csv").read_text().splitlines()[0]
    assert '"table[1,1]","table[1,2]"' in header


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        ("TERMINATES", "FMU_ENDED_EARLY", "at t = 0.55 s, before 1 s"),
        ("DISCARDS", "FMU_STEP_DISCARDED", "discarded the step that begins at t = 0.5 s"),
        ("EXIT", "FMU_EXITED", "in fmi3DoStep at t = 0.5 s"),
    ],
)
def test_faulty_fmi_3_model_gets_named_error(
    answer: Answer, tmp_path: Path, behaviour: str, code: str, words: str
) -> None:
    output = answer(build(tmp_path, FMI3_XML, fmi=3), **options(behaviour))

    assert errors(output) == [code]
    assert words in finding(output, code)


def test_fmi_3_warnings_become_messages(answer: Answer, tmp_path: Path) -> None:
    output = answer(build(tmp_path, FMI3_XML, fmi=3), **options("REPORTS"))

    assert "the level is low" in finding(output, "FMU_MODEL_MESSAGE")


def test_model_exchange_reports_values_at_last_event(answer: Answer) -> None:
    output = answer(fmi2_xml(interface="ModelExchange"), **options("TERMINATES"))

    assert "at t = 0.5 s" in finding(output, "FMU_ENDED_EARLY")
    assert values(output)["level"] == 10


EVENT_MODE = FMI3_XML.replace("canHandle", 'hasEventMode="true" canHandle', 1)
FMI3_MODEL_EXCHANGE = FMI3_XML.replace(
    '<CoSimulation modelIdentifier="model" canHandleVariableCommunicationStepSize="true"/>',
    '<ModelExchange modelIdentifier="model"/>',
)


@pytest.mark.parametrize("xml", [EVENT_MODE, FMI3_MODEL_EXCHANGE], ids=["event mode", "exchange"])
def test_event_of_fmi_3_changes_values_at_its_time(
    answer: Answer, tmp_path: Path, xml: str
) -> None:
    output = answer(build(tmp_path, xml, fmi=3), **options())

    assert errors(output) == []
    samples = duckdb.read_parquet(f"{tmp_path}/outputs/trajectory.parquet").fetchall()
    assert [level for time, level, *_ in samples if abs(time - 0.55) < 1e-9][-1] == 10
    assert values(output)["level"] == pytest.approx(10.45 if xml is EVENT_MODE else 10)


@pytest.mark.parametrize("xml", [EVENT_MODE, FMI3_MODEL_EXCHANGE], ids=["event mode", "exchange"])
def test_termination_of_fmi_3_is_reported_with_its_time(
    answer: Answer, tmp_path: Path, xml: str
) -> None:
    output = answer(build(tmp_path, xml, fmi=3), **options("TERMINATES"))

    assert "at t = 0.55 s" in finding(output, "FMU_ENDED_EARLY")


def test_endless_event_iteration_of_fmi_3_is_an_error(answer: Answer, tmp_path: Path) -> None:
    output = answer(build(tmp_path, EVENT_MODE, fmi=3), **options("EVENT_LOOP"))

    assert "event iteration does not end" in finding(output, "FMU_NO_ADVANCE")


def test_endless_event_iteration_is_an_error(answer: Answer) -> None:
    output = answer(fmi2_xml(interface="ModelExchange"), **options("EVENT_LOOP"))

    assert "event iteration does not end" in finding(output, "FMU_NO_ADVANCE")


def test_fixed_steps_that_do_not_add_up_give_warning(answer: Answer) -> None:
    xml = fmi2_xml(attributes="")

    output = answer(xml, **options(simulation={"step_size": 0.3}))

    assert errors(output) == []
    assert "ends at t = 0.9 s instead of 1 s" in finding(output, "FMU_STEPS_DO_NOT_FIT")


def test_inputs_over_time_come_from_csv(answer: Answer, tmp_path: Path) -> None:
    series = tmp_path / "inputs.csv"
    series.write_text("time [s];input [degC];flag\n0;-273.15;false\n0.5;-273.15;0\n0.5;-263.15;1\n")

    output = answer(fmi2_xml(), series, **options())

    assert errors(output) == []
    assert values(output)["level"] == pytest.approx(5.0)
    assert values(output)["flag_out"] is True


def test_unusable_csv_is_an_error(answer: Answer, tmp_path: Path) -> None:
    series = tmp_path / "inputs.csv"
    series.write_text("time,inputs\n0,1\n")

    output = answer(fmi2_xml(), series, **options())

    assert "no input 'inputs'. Did you mean 'input'?" in finding(output, "FMU_SERIES_REFUSED")


def test_long_trajectory_is_thinned(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trajectory, "VALUE_LIMIT", 60)

    output = answer(fmi2_xml(), **options(simulation={"step_size": 0.02}))

    assert "have 9 of 51 samples" in finding(output, "FMU_TRAJECTORY_THINNED")


def test_strings_beyond_limit_cut_trajectory(
    answer: Answer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(trajectory, "BYTE_LIMIT", 200)

    output = answer(fmi2_xml(), **options())

    assert "its files end at t = 0.4 s" in finding(output, "FMU_TRAJECTORY_CUT")
    assert (tmp_path / "outputs/trajectory.csv").read_text().splitlines()[-1].startswith("1.0,")


def test_model_without_outputs_gives_warning(answer: Answer) -> None:
    output = answer(fmi2_xml(outputs=False), **options())

    assert errors(output) == []
    assert "output_variables" in finding(output, "FMU_NO_OUTPUTS")


@pytest.mark.parametrize(
    ("relaxed", "codes", "words"),
    [
        (False, ["FMU_INVALID_MODEL_DESCRIPTION"], '{"validibot:relaxed_xml": true}'),
        (True, [], "accepted all the same"),
    ],
)
def test_strict_xml_rules_can_be_relaxed_by_step(
    answer: Answer, relaxed: bool, codes: list[str], words: str
) -> None:
    xml = fmi2_xml().replace('<Real unit="m"/>', '<Real unit="m" colour="red"/>')

    output = answer(xml, **options(input_values={"validibot:relaxed_xml": relaxed}))

    assert errors(output) == codes
    assert "colour" in finding(output, (codes or ["FMU_RELAXED_XML"])[0])
    assert words in finding(output, (codes or ["FMU_RELAXED_XML"])[0])


@pytest.mark.parametrize(
    ("more", "attributes", "words"),
    [
        ({"resources/slavemodule.txt": "model"}, "", "PythonFMU and needs a Python interpreter"),
        ({}, 'needsExecutionTool="true"', "coupled to a tool"),
        ({}, "", "its function to create an instance returned nothing"),
    ],
)
def test_fmu_that_cannot_be_loaded_says_what_it_needs(
    answer: Answer, tmp_path: Path, more: dict[str, str], attributes: str, words: str
) -> None:
    xml = fmi2_xml(attributes=attributes, guid="{refused}")

    output = answer(build(tmp_path, xml, more=more), **options())

    assert words in finding(output, "FMU_NOT_LOADED")


def test_every_code_of_fmu_findings_is_documented() -> None:
    sources = "".join(path.read_text() for path in Path("validators/fmu").glob("*.py"))
    page = Path("docs/validators.md").read_text()

    assert {
        code for code in re.findall(r'"(FMU_[A-Z_]+)"', sources) if f"`{code}`" not in page
    } == set()
