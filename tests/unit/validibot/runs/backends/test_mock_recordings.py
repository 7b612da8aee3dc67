"""Recorded and varied answers of mocked validators."""

import json
from pathlib import Path

import pytest
from validibot_shared.validations.envelopes import ValidationStatus

from validibot.runs.backends.mock.recordings import (
    AnswerRequest,
    RecordedArtifact,
    Recording,
    _read,
    failing,
    known,
    passing,
    usual,
)

TYPES = ["ENERGYPLUS", "FMU", "CUSTOM_VALIDATOR", "OF_TOMORROW"]
INPUTS = {"simulation": {"stop_time": 2.0}, "output_variables": []}


def ask(kind: str, digit: str = "a", **inputs: object) -> AnswerRequest:
    return AnswerRequest(type=kind, sha256=digit * 64, inputs=INPUTS | inputs)


@pytest.mark.parametrize("kind", TYPES)
def test_answer_depends_on_file_only(kind: str) -> None:
    assert passing(ask(kind)) == passing(ask(kind))
    assert passing(ask(kind)).outputs != passing(ask(kind, "b")).outputs
    assert failing(ask(kind), errors=9) == failing(ask(kind), errors=9)


def test_recorded_file_gets_recorded_answer() -> None:
    recorded = usual("ENERGYPLUS", ValidationStatus.FAILED_VALIDATION)
    request = AnswerRequest(type="ENERGYPLUS", sha256=recorded.sha256, inputs={})

    assert known(request) == failing(request) == recorded
    assert passing(request).status is ValidationStatus.SUCCESS


def test_recording_is_read_with_the_content_of_its_artifacts(tmp_path: Path) -> None:
    artifact = {"name": "a.csv", "type": "timeseries-csv", "mime_type": "text/csv"}
    answer = {
        "type": "FMU",
        "sha256": "a" * 64,
        "status": "success",
        "messages": [],
        "metrics": [],
        "outputs": {"y": 1},
    }
    (tmp_path / "answer.json").write_text(json.dumps(answer | {"artifacts": [artifact]}))
    (tmp_path / "a.csv").write_bytes(b"1,2")

    assert _read(tmp_path / "answer.json") == Recording(
        type="FMU",
        sha256="a" * 64,
        status=ValidationStatus.SUCCESS,
        messages=[],
        metrics=[],
        outputs={"y": 1},
        artifacts=(RecordedArtifact(**artifact, content=b"1,2"),),
    )


@pytest.mark.parametrize("digit", "0123456789abcdef")
def test_varied_outputs_stay_near_recorded_ones(digit: str) -> None:
    metrics = passing(ask("ENERGYPLUS", digit)).outputs["metrics"]

    assert metrics["simulated_conditioned_area_m2"] == 180.0
    assert 150 < metrics["site_eui_kwh_m2"] < 178


def test_varied_metrics_agree_with_varied_outputs() -> None:
    answer, recorded = passing(ask("ENERGYPLUS")), usual("ENERGYPLUS", ValidationStatus.SUCCESS)
    pairs = list(zip(answer.metrics, recorded.metrics, strict=True))
    factor = (
        answer.outputs["metrics"]["site_electricity_kwh"]
        / recorded.outputs["metrics"]["site_electricity_kwh"]
    )

    assert 0.92 <= factor <= 1.08
    assert factor != 1
    for varied, original in pairs:
        expected = original["value"]
        if original.get("unit") in {"kWh", "kWh/m²", "W"}:
            expected = pytest.approx(expected * factor, rel=1e-3, abs=1e-3)
        assert varied == {**original, "value": expected}


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("count", [1, 3, 500])
def test_requested_number_of_messages_have_different_lines(kind: str, count: int) -> None:
    errors = failing(ask(kind), errors=count).messages
    warned = passing(ask(kind), warnings=count).messages

    for said, severity in ((errors, "ERROR"), (warned, "WARNING")):
        assert [note["severity"] for note in said] == [severity] * count
        assert len({note["location"]["line"] for note in said}) == count


def test_message_counts_in_outputs_match_messages() -> None:
    outputs = passing(ask("ENERGYPLUS"), warnings=4).outputs
    refused = failing(ask("ENERGYPLUS"), errors=6).outputs

    assert (outputs["warning_count"], outputs["severe_count"]) == (4, 0)
    assert (refused["severe_count"], refused["fatal_count"]) == (4, 2)


def test_fmu_outputs_follow_step_config() -> None:
    request = ask("FMU", simulation={"stop_time": 9.5}, output_variables=["y", "level"])

    outputs = passing(request).outputs

    assert outputs["simulation_time_reached"] == 9.5
    assert outputs["output_values"].keys() == {"y", "level"}
    assert outputs["output_values"]["level"] == pytest.approx(0.1353, abs=0.001)
