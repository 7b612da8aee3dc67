"""The documents that runs write: input envelope, launch request and evidence, whole."""

import datetime as dt
import hashlib
from typing import Any

import pytest
import time_machine
from pytest_django import Settings
from validibot_shared.canonicalization import (
    compute_callback_nonce_commitment,
    sha256_hex_for_model,
)
from validibot_shared.validations.envelopes import ATTEMPT_CONTRACT_VERSION

from tests.factories import StepFileFactory
from tests.unit.validibot.runs.scripted import (
    ScriptedBackend,
    ScriptedProvider,
    callback_of,
    read_input,
    store_output,
)
from validators.sdk.manifest import FURTHER_FILES_PORT
from validibot.core.storage import get_storage
from validibot.runs import callback
from validibot.runs.backends.base import Phase
from validibot.runs.envelope import _safe_name
from validibot.runs.evidence import evidence_of
from validibot.runs.execute import execute
from validibot.runs.launch import nonce_matches
from validibot.runs.models import Attempt, Run, RunEvidence, digest_of
from validibot.runs.reconcile import on_execution_end
from validibot.submissions.models import Submission, SubmissionFile
from validibot.workflows.models import Validator

pytestmark = pytest.mark.django_db

NOW = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
SHA256 = hashlib.sha256(b"PK").hexdigest()


def launched(run: Run, provider: ScriptedProvider) -> tuple[Attempt, dict[str, Any]]:
    """Launch the run's step; return its attempt and the stored input envelope."""
    with time_machine.travel(NOW, tick=False):
        execute(run.pk)
    return Attempt.objects.get(), read_input(provider.requests[0]).model_dump(mode="json")


def test_input_envelope_describes_run_submission_and_callback(
    provider: ScriptedProvider, container_run: Run
) -> None:
    attempt, envelope = launched(container_run, provider)

    step_run = container_run.steps.get()
    step, nonce = step_run.step, envelope["context"]["callback_nonce"]
    assert envelope["run_id"] == str(container_run.pk)
    assert envelope["validator"] == {"id": str(step.validator.pk), "type": "FMU", "version": "1"}
    organisation = container_run.organisation
    assert envelope["org"] == {"id": str(organisation.pk), "name": organisation.name}
    assert envelope["workflow"] == {
        "id": str(container_run.workflow_id),
        "step_id": str(step.pk),
        "step_name": "Check it",
    }
    assert envelope["inputs"]["output_variables"] == ["y"]
    (file,) = envelope["input_files"]
    version = file.pop("storage_version")
    assert file == {
        "name": "model.fmu",
        "mime_type": "application/vnd.fmi.fmu",
        "role": "fmu",
        "port_key": "fmu_model",
        "uri": f"{attempt.bundle_uri}/inputs/fmu_model.fmu",
        "size_bytes": 2,
        "sha256": SHA256,
    }
    assert get_storage(file["uri"]).read(file["uri"], version=version, limit=9) == b"PK"
    context = {name: value for name, value in envelope["context"].items() if value is not None}
    assert context == {
        "execution_attempt_id": str(attempt.pk),
        "step_run_id": str(step_run.pk),
        "attempt_contract_version": ATTEMPT_CONTRACT_VERSION,
        "expected_output_uri": attempt.output_uri,
        "execution_bundle_uri": attempt.bundle_uri,
        "callback_id": f"execution-attempt-{attempt.pk}",
        "callback_nonce": nonce,
        "callback_nonce_commitment": compute_callback_nonce_commitment(nonce),
        "callback_url": "http://localhost:8001/internal/callbacks/",
        "skip_callback": False,
        "timeout_seconds": step.validator.timeout_seconds,
        "tags": [],
    }
    assert nonce_matches(nonce, attempt.nonce_digest)
    assert attempt.input_sha256 == sha256_hex_for_model(read_input(provider.requests[0]))


def test_attempt_lies_in_the_folder_of_its_run(
    provider: ScriptedProvider, container_run: Run, settings: Settings
) -> None:
    attempt, _ = launched(container_run, provider)

    run, step_run = container_run, container_run.steps.get()
    folder = f"{settings.DATA_ROOT}/runs/{run.organisation_id}/{run.pk}/attempts/{attempt.pk}"
    seconds = step_run.step.validator.timeout_seconds
    assert attempt.bundle_uri == folder
    assert (attempt.input_uri, attempt.output_uri) == (
        f"{folder}/input.json",
        f"{folder}/output.json",
    )
    assert (attempt.number, attempt.backend, attempt.image) == (1, "default", step_run.image)
    assert attempt.timeout_at == NOW + dt.timedelta(seconds=seconds + 120)


def test_launch_request_carries_what_the_provider_needs(
    provider: ScriptedProvider, container_run: Run
) -> None:
    attempt, _ = launched(container_run, provider)
    (request,) = provider.requests
    validator = container_run.steps.get().step.validator

    on_end: Any = request.on_end
    assert (on_end.func, on_end.args) == (on_execution_end, (attempt.pk,))
    assert {name: getattr(request, name) for name in request.__slots__ if name != "on_end"} == {
        "run_id": container_run.pk,
        "attempt_id": attempt.pk,
        "job": validator.job,
        "image": validator.image,
        "command": validator.command,
        "input_uri": attempt.input_uri,
        "output_uri": attempt.output_uri,
        "capability_url": "http://localhost:8001/internal/capabilities/",
        "timeout_seconds": validator.timeout_seconds,
        "memory_mb": validator.memory_mb,
        "network": None,
        "secrets": {},
    }


@pytest.mark.parametrize("confines", [True, False])
def test_resources_are_copied_only_for_confined_validators(
    provider: ScriptedProvider,
    container_run: Run,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    confines: bool,
) -> None:
    monkeypatch.setattr(ScriptedBackend, "confines", confines)
    uri = f"{settings.DATA_ROOT}/files/Some Weather.epw"
    stored = get_storage(uri).create(uri, b"EPW", mime_type="text/plain")
    file = StepFileFactory.create(
        step=container_run.steps.get().step,
        name="Some Weather.EPW",
        uri=uri,
        storage_version=stored.version,
        size_bytes=3,
        sha256=stored.sha256,
    )

    attempt, envelope = launched(container_run, provider)

    (resource,) = envelope["resource_files"]
    version = resource.pop("storage_version")
    copy = f"{attempt.bundle_uri}/inputs/weather_file/Some_Weather.epw"
    assert resource == {
        "id": str(file.pk),
        "name": "Some Weather.EPW",
        "type": "energyplus_weather",
        "port_key": "weather_file",
        "uri": copy if confines else uri,
        "size_bytes": 3,
        "sha256": stored.sha256,
    }
    content = get_storage(uri).read(resource["uri"], version=version, limit=9)
    assert content == b"EPW"
    assert envelope["input_files"][0]["uri"] == f"{attempt.bundle_uri}/inputs/fmu_model.fmu"


def test_weather_of_run_replaces_that_of_its_step(
    provider: ScriptedProvider, container_run: Run
) -> None:
    step_run = container_run.steps.get()
    StepFileFactory.create(step=step_run.step, port_key="weather_file")
    weather = {
        "name": "Oslo.epw",
        "type": "energyplus_weather",
        "port_key": "weather_file",
        "uri": "file:///weather/oslo.epw",
        "size_bytes": 3,
        "sha256": SHA256,
        "storage_version": "1",
    }
    design_days = weather | {"port_key": "design_days"}  # this validator has no port for them
    files = [weather, design_days]
    step_run.weather = {"name": "oslo", "location": "Oslo", "files": files}
    step_run.save()

    _, envelope = launched(container_run, provider)

    assert envelope["resource_files"] == [{"id": SHA256, **weather}]


@pytest.mark.parametrize("accepts", [True, False])
def test_further_files_are_resources_with_the_names_of_the_sender(
    provider: ScriptedProvider, container_run: Run, accepts: bool
) -> None:
    Validator.objects.update(accepts_further_files=accepts)
    Submission.objects.update(further_file_count=1)
    file = SubmissionFile.objects.create(
        submission=container_run.submission,
        order=2,
        filename="Größe 1.csv",
        mime_type="text/csv",
        inline=b"0.5",
        size_bytes=3,
        sha256=hashlib.sha256(b"0.5").hexdigest(),
    )

    attempt, envelope = launched(container_run, provider)

    assert len(envelope["resource_files"]) == accepts
    for resource in envelope["resource_files"]:
        version = resource.pop("storage_version")
        assert resource == {
            "id": str(file.pk),
            "name": "Größe 1.csv",
            "type": "further_file",
            "port_key": FURTHER_FILES_PORT,
            "uri": f"{attempt.bundle_uri}/inputs/{FURTHER_FILES_PORT}/2",
            "size_bytes": 3,
            "sha256": file.sha256,
        }
        uri = resource["uri"]
        assert get_storage(uri).read(uri, version=version, limit=9) == b"0.5"


@pytest.mark.parametrize(
    ("filename", "safe"),
    [
        ("model.FMU", "model.fmu"),
        ("my model (2).idf", "my_model_2.idf"),
        ("../../etc/passwd", "passwd"),
        (".idf", "idf"),
        ("---.json", "submission.json"),
        ("Größe.xml", "Gr_e.xml"),
    ],
)
def test_file_name_in_envelope_is_safe(filename: str, safe: str) -> None:
    assert _safe_name(filename) == safe


@pytest.fixture
def evidence(provider: ScriptedProvider, container_run: Run) -> RunEvidence:
    """The evidence of a container run with a finding and an artifact."""
    attempt, _ = launched(container_run, provider)
    message = {"severity": "WARNING", "code": "W1", "text": "Odd."}
    folder = f"{attempt.bundle_uri}/outputs"
    stored = get_storage(folder).create(f"{folder}/a.csv", b"1,2", mime_type="text/csv")
    artifact = {"name": "a.csv", "type": "timeseries-csv", "uri": stored.uri, "size_bytes": 3}
    artifact |= {"sha256": stored.sha256, "storage_version": stored.version}
    store_output(provider.requests[0], messages=[message], artifacts=[artifact])
    provider.phase = Phase.SUCCEEDED

    with time_machine.travel(NOW, tick=False):
        assert callback.process(callback_of(provider.requests[0])).status == 200
    return RunEvidence.objects.get()


def test_evidence_lists_what_a_container_run_left(evidence: RunEvidence) -> None:
    run = evidence.run
    step_run = run.steps.get()
    sha256 = hashlib.sha256(b"1,2").hexdigest()
    contents = evidence.contents
    (step,) = contents.pop("steps")
    assert step["findings"]["count"] == 1
    assert step.pop("findings").keys() == {"count", "sha256"}
    (kept,) = step.pop("artifacts")
    assert (kept["name"], kept["sha256"]) == ("a.csv", sha256)
    assert step == {
        "order": 1,
        "name": "Check it",
        "status": "PASSED",
        "validator": step_run.step.validator.slug,
        "validator_version": "1",
        "config_sha256": digest_of(step_run.step.config),
        "image": "validibot/validator-fmu:0.1.0",
        "image_digest": "sha256:1",
        "outputs_sha256": digest_of({"time": 10.0, "y": 2.0}),
    }
    workflow = run.workflow
    assert contents == {
        "run_id": str(run.pk),
        "status": "SUCCEEDED",
        "result": "PASS",
        "created_at": run.created_at.isoformat(),
        "completed_at": NOW.isoformat(),
        "workflow": {"slug": workflow.slug, "version": workflow.version, "name": workflow.name},
        "submission": {"filename": "model.fmu", "size_bytes": 2, "sha256": SHA256},
    }


def test_evidence_manifest_names_input_and_validators(evidence: RunEvidence) -> None:
    run = evidence.run
    workflow, step_run = run.workflow, run.steps.get()
    manifest = evidence.manifest
    assert (manifest["run_id"], manifest["status"]) == (str(run.pk), "SUCCEEDED")
    assert (manifest["completed_at"], manifest["input_sha256"]) == (NOW.isoformat(), SHA256)
    assert (manifest["workflow"]["slug"], manifest["workflow"]["version"]) == (
        workflow.slug,
        str(workflow.version),
    )
    assert manifest["workflow"]["steps"] == [
        {
            "key": "1",
            "status": "PASSED",
            "validator": step_run.step.validator.slug,
            "validator_version": "1",
            "backend_image_digest": "sha256:1",
        }
    ]


def test_evidence_of_older_run_is_written_once(
    provider: ScriptedProvider, container_run: Run
) -> None:
    launched(container_run, provider)
    store_output(provider.requests[0])
    callback.process(callback_of(provider.requests[0]))
    written = RunEvidence.objects.get()
    RunEvidence.objects.all().delete()

    again = evidence_of(Run.objects.get())

    assert again.contents_sha256 == written.contents_sha256 == digest_of(written.contents)
    assert again.manifest_sha256 == written.manifest_sha256
    assert evidence_of(Run.objects.get()).pk == again.pk
