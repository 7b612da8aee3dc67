"""The life of a validator process with a toy in the place of a real one."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from validibot_shared.validations.envelopes import (
    ValidationInputEnvelope,
    ValidationOutputEnvelope,
    ValidationStatus,
)

from validators.sdk.main import DONE, FAILED, NOT_STORED, NOTHING_TO_ANSWER, STOPPED, main
from validators.sdk.manifest import AcceptedFileType, Budgets, InputPort, ValidatorManifest
from validators.sdk.testing import write_envelope
from validators.sdk.validation import Artifact, Failure, Request, Result, Validator

type Toy = Callable[[Request[ValidationInputEnvelope]], Result]

MANIFEST = ValidatorManifest(
    slug="toy",
    title="Toy",
    description="",
    validation_type="CUSTOM_VALIDATOR",
    version="1",
    image="validibot/validator-test:0.1.0",
    job="toy",
    command=["python"],
    budgets=Budgets(timeout_seconds=60, memory_mb=64),
    accepts=[AcceptedFileType(extension=".json", mime_type="application/json")],
    input_ports=[InputPort(port_key="document", role="document", title="", required=True)],
)


@pytest.fixture
def envelope(tmp_path: Path) -> Path:
    (tmp_path / "doc.json").write_text("{}")
    return write_envelope(tmp_path, MANIFEST, tmp_path / "doc.json")


def passes(request: Request[ValidationInputEnvelope]) -> Result:
    report = request.folder / "report.txt"
    report.write_text(request.file("document").read_text())
    return Result(
        status=ValidationStatus.SUCCESS,
        artifacts=[Artifact(path=report, type="report", mime_type="text/plain")],
    )


def run(envelope: Path, validate: Toy) -> tuple[int, ValidationOutputEnvelope]:
    validator = Validator(validate=validate, input_envelope=ValidationInputEnvelope)
    code = main(validator, [envelope.as_uri()])
    stored = (envelope.parent / "output.json").read_text()
    return code, ValidationOutputEnvelope.model_validate_json(stored)


def code_of(output: ValidationOutputEnvelope) -> str | None:
    assert output.status is ValidationStatus.FAILED_RUNTIME
    return output.messages[0].code


def test_a_verdict_is_stored_with_its_artifacts_and_their_manifest(envelope: Path) -> None:
    code, output = run(envelope, passes)

    assert (code, output.status) == (DONE, ValidationStatus.SUCCESS)
    (artifact,) = output.artifacts
    assert (artifact.name, artifact.size_bytes) == ("report.txt", 2)
    manifest = json.loads((envelope.parent / "outputs/manifest.json").read_text())
    assert manifest["total_files"] == 1
    assert manifest["files"][0]["storage_version"] == artifact.storage_version


def test_the_answer_repeats_the_identity_of_the_question(envelope: Path) -> None:
    question = json.loads(envelope.read_text())

    _, output = run(envelope, passes)

    assert output.run_id == question["run_id"]
    assert output.execution_attempt_id == question["context"]["execution_attempt_id"]
    assert output.output_uri == question["context"]["expected_output_uri"]


def test_a_finished_attempt_is_not_computed_again(envelope: Path) -> None:
    _, first = run(envelope, passes)

    def explode(_: Request[ValidationInputEnvelope]) -> Result:
        raise AssertionError("computed twice")

    assert run(envelope, explode) == (DONE, first)


def test_an_exception_becomes_an_answer_without_a_traceback(envelope: Path) -> None:
    def explode(_: Request[ValidationInputEnvelope]) -> Result:
        raise ZeroDivisionError("secret detail")

    code, output = run(envelope, explode)

    assert (code, code_of(output)) == (FAILED, "VALIDATOR_ERROR")
    assert "secret" not in output.messages[0].text


def test_a_failure_tells_its_code_and_text(envelope: Path) -> None:
    def fail(_: Request[ValidationInputEnvelope]) -> Result:
        raise Failure("The engine is missing.", code="NO_ENGINE")

    _, output = run(envelope, fail)

    assert code_of(output) == "NO_ENGINE"


def test_sigterm_ends_validator_without_output(envelope: Path) -> None:
    """Only the platform knows why it stopped the validator."""

    def stop(_: Request[ValidationInputEnvelope]) -> Result:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("not stopped")

    validator = Validator(validate=stop, input_envelope=ValidationInputEnvelope)

    assert main(validator, [envelope.as_uri()]) == STOPPED
    assert not (envelope.parent / "output.json").exists()


def test_an_input_that_changed_is_refused(envelope: Path) -> None:
    (envelope.parent / "doc.json").write_text("[]")

    _, output = run(envelope, passes)

    assert code_of(output) == "INPUT_UNAVAILABLE"


def test_an_output_cannot_be_redirected(envelope: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALIDIBOT_OUTPUT_URI", "file:///elsewhere/output.json")

    _, output = run(envelope, passes)

    assert code_of(output) == "OUTPUT_REDIRECTED"


def test_an_artifact_that_cannot_be_stored_costs_a_warning(envelope: Path) -> None:
    (envelope.parent / "outputs").mkdir()
    (envelope.parent / "outputs/report.txt").write_text("of an earlier execution")

    _, output = run(envelope, passes)

    assert output.status is ValidationStatus.SUCCESS
    assert [message.code for message in output.messages] == ["ARTIFACT_NOT_STORED"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "[" * 100_000])
def test_without_a_usable_envelope_nothing_is_stored(tmp_path: Path, content: str) -> None:
    path = tmp_path / "input.json"
    path.write_text(content)

    validator = Validator(validate=passes, input_envelope=ValidationInputEnvelope)

    assert main(validator, [path.as_uri()]) == NOTHING_TO_ANSWER
    assert [item.name for item in tmp_path.iterdir()] == ["input.json"]


@pytest.mark.parametrize("arguments", [[], ["http://x/input.json"], ["file:///nowhere/input.json"]])
def test_without_an_input_there_is_nothing_to_answer(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VALIDIBOT_INPUT_URI", raising=False)

    validator = Validator(validate=passes, input_envelope=ValidationInputEnvelope)

    assert main(validator, arguments) == NOTHING_TO_ANSWER


def test_a_foreign_object_in_the_outputs_place_is_left_alone(envelope: Path) -> None:
    (envelope.parent / "output.json").write_text('{"not": "ours"}')

    validator = Validator(validate=passes, input_envelope=ValidationInputEnvelope)

    assert main(validator, [envelope.as_uri()]) == NOT_STORED
    assert (envelope.parent / "output.json").read_text() == '{"not": "ours"}'


def test_the_process_hears_sigterm_again_afterwards(envelope: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    run(envelope, passes)

    assert signal.getsignal(signal.SIGTERM) is before
