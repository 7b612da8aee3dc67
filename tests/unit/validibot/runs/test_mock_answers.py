"""What mocked validators answer: recorded, or varied by the file; always the same to the same."""

import pytest
from validibot_shared.validations.envelopes import ValidationStatus

from validibot.runs.backends.mock.answers import Question, failing, known, passing
from validibot.runs.backends.mock.recordings import usual

TYPES = ["ENERGYPLUS", "FMU", "CUSTOM_VALIDATOR", "OF_TOMORROW"]
INPUTS = {"simulation": {"stop_time": 2.0}, "output_variables": []}


def ask(kind: str, digit: str = "a", **inputs: object) -> Question:
    return Question(type=kind, sha256=digit * 64, inputs=INPUTS | inputs)


@pytest.mark.parametrize("kind", TYPES)
def test_the_same_file_has_the_same_answer_and_another_has_another(kind: str) -> None:
    assert passing(ask(kind)) == passing(ask(kind))
    assert passing(ask(kind)).outputs != passing(ask(kind, "b")).outputs
    assert failing(ask(kind), errors=9) == failing(ask(kind), errors=9)


def test_a_recorded_file_has_its_recorded_answer() -> None:
    recorded = usual("ENERGYPLUS", ValidationStatus.FAILED_VALIDATION)
    question = Question(type="ENERGYPLUS", sha256=recorded.sha256, inputs={})

    assert known(question) == failing(question) == recorded
    assert passing(question).status is ValidationStatus.SUCCESS


@pytest.mark.parametrize("digit", "0123456789abcdef")
def test_a_varied_building_stays_near_the_recorded_one(digit: str) -> None:
    metrics = passing(ask("ENERGYPLUS", digit)).outputs["metrics"]

    assert metrics["simulated_conditioned_area_m2"] == 180.0
    assert 150 < metrics["site_eui_kwh_m2"] < 178


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("count", [1, 3, 500])
def test_so_many_messages_are_as_many_and_at_different_lines(kind: str, count: int) -> None:
    errors = failing(ask(kind), errors=count).messages
    doubts = passing(ask(kind), warnings=count).messages

    for said, severity in ((errors, "ERROR"), (doubts, "WARNING")):
        assert [note["severity"] for note in said] == [severity] * count
        assert len({note["location"]["line"] for note in said}) == count


def test_what_counts_messages_agrees_with_them() -> None:
    outputs = passing(ask("ENERGYPLUS"), warnings=4).outputs
    refused = failing(ask("ENERGYPLUS"), errors=6).outputs

    assert (outputs["warning_count"], outputs["severe_count"]) == (4, 0)
    assert (refused["severe_count"], refused["fatal_count"]) == (4, 2)


def test_a_model_is_simulated_as_the_step_says() -> None:
    question = ask("FMU", simulation={"stop_time": 9.5}, output_variables=["y", "level"])

    outputs = passing(question).outputs

    assert outputs["simulation_time_reached"] == 9.5
    assert outputs["output_values"].keys() == {"y", "level"}
    assert outputs["output_values"]["level"] == pytest.approx(0.1353, abs=0.001)
