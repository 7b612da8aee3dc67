"""Life of a validator process, with a toy validator."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from validibot_shared.validations.envelopes import (
    ValidationInputEnvelope,
    ValidationOutputEnvelope,
    ValidationStatus,
)

from tests.waiting import until
from validators.sdk.main import (
    DONE,
    FAILED,
    NOT_OURS,
    NOT_STORED,
    NOTHING_TO_ANSWER,
    STOPPED,
    main,
)
from validators.sdk.manifest import AcceptedFileType, Budgets, InputPort, ValidatorManifest
from validators.sdk.storage import open_storage
from validators.sdk.storage.claim import claim
from validators.sdk.testing import write_envelope
from validators.sdk.validation import (
    ArtifactFile,
    ContainerValidator,
    Failure,
    ValidationRequest,
    ValidationResult,
)

type Toy = Callable[[ValidationRequest[ValidationInputEnvelope]], ValidationResult]

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


def passes(request: ValidationRequest[ValidationInputEnvelope]) -> ValidationResult:
    report = request.folder / "report.txt"
    report.write_text(request.file("document").read_text())
    return ValidationResult(
        status=ValidationStatus.SUCCESS,
        artifacts=[ArtifactFile(path=report, type="report", mime_type="text/plain")],
    )


def run(envelope: Path, validate: Toy) -> tuple[int, ValidationOutputEnvelope]:
    validator = ContainerValidator(validate=validate, input_envelope=ValidationInputEnvelope)
    code = main(validator, [envelope.as_uri()])
    stored = (envelope.parent / "output.json").read_text()
    return code, ValidationOutputEnvelope.model_validate_json(stored)


def code_of(output: ValidationOutputEnvelope) -> str | None:
    assert output.status is ValidationStatus.FAILED_RUNTIME
    return output.messages[0].code


def test_output_and_artifacts_are_stored(envelope: Path) -> None:
    code, output = run(envelope, passes)

    assert (code, output.status) == (DONE, ValidationStatus.SUCCESS)
    (artifact,) = output.artifacts
    assert (artifact.name, artifact.size_bytes) == ("report.txt", 2)
    manifest = json.loads((envelope.parent / "outputs/manifest.json").read_text())
    assert manifest["total_files"] == 1
    assert manifest["files"][0]["storage_version"] == artifact.storage_version


def test_upload_goes_on_while_validator_works(envelope: Path) -> None:
    def validate(request: ValidationRequest[ValidationInputEnvelope]) -> ValidationResult:
        result = passes(request)
        request.upload(result.artifacts[0])
        assert until((envelope.parent / "outputs/report.txt").exists)
        return result

    code, output = run(envelope, validate)

    assert code == DONE
    assert [artifact.name for artifact in output.artifacts] == ["report.txt"]


def test_output_repeats_identity_of_input(envelope: Path) -> None:
    question = json.loads(envelope.read_text())

    _, output = run(envelope, passes)

    assert output.run_id == question["run_id"]
    assert output.execution_attempt_id == question["context"]["execution_attempt_id"]
    assert output.output_uri == question["context"]["expected_output_uri"]


def test_further_files_lie_in_one_folder_by_name(tmp_path: Path, envelope: Path) -> None:
    paths = [tmp_path / "Load 1.csv", tmp_path / "größe.csv"]
    for path in paths:
        path.write_text(path.name)
    (tmp_path / "again").mkdir()
    envelope = write_envelope(tmp_path / "again", MANIFEST, tmp_path / "doc.json", *paths)

    def look(request: ValidationRequest[ValidationInputEnvelope]) -> ValidationResult:
        assert set(request.files) == {"document"}
        found = request.further_files
        assert {name: path.read_text() for name, path in found.items()} == {
            path.name: path.name for path in paths
        }
        assert len({path.parent for path in found.values()}) == 1
        return ValidationResult(status=ValidationStatus.SUCCESS)

    assert run(envelope, look)[0] == DONE


def test_two_files_of_one_name_are_refused(tmp_path: Path, envelope: Path) -> None:
    (tmp_path / "again").mkdir()
    envelope = write_envelope(
        tmp_path / "again", MANIFEST, tmp_path / "doc.json", envelope, envelope
    )

    assert code_of(run(envelope, passes)[1]) == "ENVELOPE_AMBIGUOUS"


def test_finished_attempt_is_not_computed_again(envelope: Path) -> None:
    _, first = run(envelope, passes)

    def explode(_: ValidationRequest[ValidationInputEnvelope]) -> ValidationResult:
        raise AssertionError("computed twice")

    assert run(envelope, explode) == (DONE, first)


@pytest.mark.parametrize(("execution", "code"), [("fc-1", DONE), ("fc-2", NOT_OURS)])
def test_only_execution_with_claim_works_on_attempt(
    envelope: Path, monkeypatch: pytest.MonkeyPatch, execution: str, code: int
) -> None:
    folder = envelope.parent.as_uri()
    claim(open_storage(folder), folder, "fc-1")
    monkeypatch.setenv("VALIDIBOT_EXECUTION", execution)
    validator = ContainerValidator(validate=passes, input_envelope=ValidationInputEnvelope)

    assert main(validator, [envelope.as_uri()]) == code
    assert (envelope.parent / "output.json").exists() == (code == DONE)


def test_exception_becomes_output_without_traceback(envelope: Path) -> None:
    def explode(_: ValidationRequest[ValidationInputEnvelope]) -> ValidationResult:
        raise ZeroDivisionError("secret detail")

    code, output = run(envelope, explode)

    assert (code, code_of(output)) == (FAILED, "VALIDATOR_ERROR")
    assert "secret" not in output.messages[0].text


@pytest.mark.parametrize("dsn", ["https://key@sentry.example/7", "no dsn"])
def test_exception_is_reported_to_sentry_without_values(
    envelope: Path, monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "sentry_sdk.transport.HttpTransport.capture_envelope",
        lambda self, sentry: sent.append(sentry.get_event()),
    )
    monkeypatch.setenv("SENTRY_DSN", dsn)

    def explode(_: ValidationRequest[ValidationInputEnvelope]) -> ValidationResult:
        tenant_text = "a tenant's text"
        raise ZeroDivisionError(len(tenant_text))

    assert code_of(run(envelope, explode)[1]) == "VALIDATOR_ERROR"
    if dsn == "no dsn":
        assert not sent
        return
    [event] = sent
    assert event["exception"]["values"][-1]["type"] == "ZeroDivisionError"
    assert event["tags"]["run_id"]
    assert event["tags"]["version"] == "1"
    frames = event["exception"]["values"][-1]["stacktrace"]["frames"]
    assert not [frame for frame in frames if "vars" in frame]


def test_failure_becomes_output_with_code(envelope: Path) -> None:
    def fail(_: ValidationRequest[ValidationInputEnvelope]) -> ValidationResult:
        raise Failure("The engine is missing.", code="NO_ENGINE")

    _, output = run(envelope, fail)

    assert code_of(output) == "NO_ENGINE"


def test_sigterm_ends_validator_without_output(envelope: Path) -> None:
    """Only the platform knows why it stopped the validator."""

    def stop(_: ValidationRequest[ValidationInputEnvelope]) -> ValidationResult:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("not stopped")

    validator = ContainerValidator(validate=stop, input_envelope=ValidationInputEnvelope)

    assert main(validator, [envelope.as_uri()]) == STOPPED
    assert not (envelope.parent / "output.json").exists()


def test_changed_input_is_refused(envelope: Path) -> None:
    (envelope.parent / "doc.json").write_text("[]")

    _, output = run(envelope, passes)

    assert code_of(output) == "INPUT_UNAVAILABLE"


def test_redirected_output_is_refused(envelope: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALIDIBOT_OUTPUT_URI", "file:///elsewhere/output.json")

    _, output = run(envelope, passes)

    assert code_of(output) == "OUTPUT_REDIRECTED"


@pytest.mark.parametrize(
    ("content", "place"),
    [("{}", "report.txt"), ("of an execution that was killed", "44136fa355b3678a/report.txt")],
)
def test_artifact_of_killed_execution_is_kept(envelope: Path, content: str, place: str) -> None:
    outputs = envelope.parent / "outputs"
    outputs.mkdir()
    for name in ("report.txt", "manifest.json"):
        (outputs / name).write_text(content)

    _, output = run(envelope, passes)

    (artifact,) = output.artifacts
    assert (output.messages, artifact.uri) == ([], (outputs / place).as_uri())
    assert (outputs / place).read_text() == "{}"
    assert (outputs / "report.txt").read_text() == content
    assert output.raw_outputs


def test_unstored_artifact_becomes_warning(envelope: Path) -> None:
    (envelope.parent / "outputs").write_text("no folder")

    _, output = run(envelope, passes)

    assert output.status is ValidationStatus.SUCCESS
    assert [message.code for message in output.messages] == ["ARTIFACT_NOT_STORED"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "[" * 100_000])
def test_invalid_envelope_stores_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "input.json"
    path.write_text(content)

    validator = ContainerValidator(validate=passes, input_envelope=ValidationInputEnvelope)

    assert main(validator, [path.as_uri()]) == NOTHING_TO_ANSWER
    assert [item.name for item in tmp_path.iterdir()] == ["input.json"]


@pytest.mark.parametrize("arguments", [[], ["http://x/input.json"], ["file:///nowhere/input.json"]])
def test_missing_input_returns_nothing_to_answer(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VALIDIBOT_INPUT_URI", raising=False)

    validator = ContainerValidator(validate=passes, input_envelope=ValidationInputEnvelope)

    assert main(validator, arguments) == NOTHING_TO_ANSWER


def test_foreign_object_at_output_is_kept(envelope: Path) -> None:
    (envelope.parent / "output.json").write_text('{"not": "ours"}')

    validator = ContainerValidator(validate=passes, input_envelope=ValidationInputEnvelope)

    assert main(validator, [envelope.as_uri()]) == NOT_STORED
    assert (envelope.parent / "output.json").read_text() == '{"not": "ours"}'


def test_sigterm_handler_is_restored(envelope: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    run(envelope, passes)

    assert signal.getsignal(signal.SIGTERM) is before
