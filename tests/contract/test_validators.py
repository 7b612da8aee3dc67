"""Contract of every validator: its samples, outputs and callbacks."""

import hashlib
import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from queue import Queue
from typing import Any
from uuid import uuid4

import pytest
from validibot_shared.canonicalization import sha256_hex_for_model
from validibot_shared.validations.envelopes import (
    Severity,
    ValidationCallback,
    ValidationOutputEnvelope,
    ValidationStatus,
)

from tests.standin.worker import Worker
from validators.sdk.main import DONE, main
from validators.sdk.manifest import ManifestSample, ValidatorManifest, read_manifest
from validators.sdk.testing import NONCE, write_envelope
from validators.sdk.validation import ContainerValidator
from validibot.runs.backends.base import ExecutionState, LaunchRequest, Phase
from validibot.runs.backends.subprocess import SubprocessBackend

MANIFESTS = [read_manifest(path.parent) for path in sorted(Path("validators").glob("*/*.toml"))]
SAMPLES = [
    pytest.param(manifest, sample, id=f"{manifest.slug}-{sample.name}")
    for manifest in MANIFESTS
    for sample in manifest.samples
]


def validator(slug: str) -> ContainerValidator[Any]:
    found: ContainerValidator[Any] = import_module(f"validators.{slug}.validate").VALIDATOR
    return found


def quick(manifest: ValidatorManifest) -> ManifestSample:
    """Return the last passing sample; the first is the most thorough one."""
    return [sample for sample in manifest.samples if sample.expect == "pass"][-1]


def run(
    folder: Path, manifest: ValidatorManifest, sample: ManifestSample, **options: Any
) -> tuple[int, ValidationOutputEnvelope]:
    envelope = write_envelope(folder, manifest, sample.path, inputs=sample.inputs, **options)
    code = main(validator(manifest.slug), [envelope.as_uri()])
    stored = (folder / "output.json").read_bytes()
    return code, validator(manifest.slug).output_envelope.model_validate_json(stored)


Ran = Callable[[ValidatorManifest, ManifestSample], tuple[Path, int, ValidationOutputEnvelope]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Return a function that runs a sample once and returns its folder, exit code and output."""
    ended: dict[tuple[str, str], tuple[Path, int, ValidationOutputEnvelope]] = {}

    def of(
        manifest: ValidatorManifest, sample: ManifestSample
    ) -> tuple[Path, int, ValidationOutputEnvelope]:
        key = (manifest.slug, sample.name)
        if key not in ended:
            folder = tmp_path_factory.mktemp(manifest.slug)
            ended[key] = (folder, *run(folder, manifest, sample))
        return ended[key]

    return of


@pytest.mark.parametrize(("manifest", "sample"), SAMPLES)
def test_sample_has_expected_verdict(
    manifest: ValidatorManifest, sample: ManifestSample, ran: Ran
) -> None:
    _, code, output = ran(manifest, sample)

    assert code == DONE
    if sample.expect == "pass":
        assert output.status is ValidationStatus.SUCCESS
    else:
        assert output.status is ValidationStatus.FAILED_VALIDATION
        assert any(message.severity is Severity.ERROR for message in output.messages)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.slug)
def test_output_is_bound_to_input(manifest: ValidatorManifest, ran: Ran) -> None:
    folder, _, output = ran(manifest, quick(manifest))

    question = validator(manifest.slug).input_envelope.model_validate_json(
        (folder / "input.json").read_bytes()
    )
    assert output.input_envelope_sha256 == sha256_hex_for_model(question)
    assert output.validator == question.validator
    assert output.timing.finished_at is not None


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.slug)
def test_stored_output_omits_empty_fields(manifest: ValidatorManifest, ran: Ran) -> None:
    folder, _, _ = ran(manifest, quick(manifest))

    assert "null" not in (folder / "output.json").read_text()


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.slug)
def test_artifacts_match_their_description(manifest: ValidatorManifest, ran: Ran) -> None:
    folder, _, output = ran(manifest, quick(manifest))

    for artifact in output.artifacts:
        path = Path(artifact.uri.removeprefix("file://"))
        assert path == folder / "outputs" / artifact.name
        assert path.stat().st_size == artifact.size_bytes
        assert artifact.storage_version == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.slug)
def test_output_has_every_declared_value(manifest: ValidatorManifest, ran: Ran) -> None:
    folder, _, _ = ran(manifest, manifest.samples[0])

    answer = json.loads((folder / "output.json").read_text())
    metrics = answer["metrics"]
    answer["metrics"] = {each.get("category"): {} for each in metrics}
    for each in metrics:
        answer["metrics"][each.get("category")][each["name"]] = each["value"]
    for output in manifest.outputs:
        value: Any = answer
        for key in output.path.split("."):
            value = value[key]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.slug)
def test_second_execution_repeats_callback_only(
    manifest: ValidatorManifest, tmp_path: Path
) -> None:
    with Worker() as worker:
        run(tmp_path, manifest, manifest.samples[-1], callback_url=worker.url)
        first = (tmp_path / "output.json").read_bytes()
        main(validator(manifest.slug), [(tmp_path / "input.json").as_uri()])

    told = [ValidationCallback.model_validate(callback.body) for callback in worker.callbacks]
    assert told[0] == told[1]
    assert (told[0].callback_nonce, len(told)) == (NONCE, 2)
    assert told[0].status is ValidationStatus.FAILED_VALIDATION
    assert (tmp_path / "output.json").read_bytes() == first


# The other two run as child processes in the flows.
@pytest.mark.parametrize("slug", ["schematron", "shacl"])
def test_validator_runs_as_child_process_within_its_memory(slug: str, tmp_path: Path) -> None:
    [manifest] = [each for each in MANIFESTS if each.slug == slug]
    sample = manifest.samples[0]
    envelope = write_envelope(tmp_path, manifest, sample.path, inputs=sample.inputs)
    options = {"validators_dir": str(Path("validators").absolute())}
    ended: Queue[ExecutionState] = Queue()

    SubprocessBackend("default", {"OPTIONS": options}).launch(
        LaunchRequest(
            run_id=uuid4(),
            attempt_id=uuid4(),
            job=manifest.job,
            image=manifest.image,
            command=manifest.command,
            input_uri=envelope.as_uri(),
            output_uri=(tmp_path / "output.json").as_uri(),
            capability_url="",
            timeout_seconds=60,
            memory_mb=manifest.budgets.memory_mb,
            on_end=ended.put,
        )
    )

    assert ended.get(timeout=90).phase is Phase.SUCCEEDED
    assert json.loads((tmp_path / "output.json").read_bytes())["status"] == "success"


@pytest.mark.parametrize(
    ("slug", "role", "digest"),
    [
        (
            "energyplus",
            "primary-model",
            "df98020f2ab310b30d0a28cd7c246e2e8bfa4145ac207428b87ed2b951b6fabc",
        ),
        ("fmu", "fmu", "1102144914836389f38a27b8b54c65a278aac9e415229149cc6db3c7300c2d4a"),
    ],
)
def test_envelope_digest_matches_published_one(slug: str, role: str, digest: str) -> None:
    golden = json.loads((Path(__file__).parent / f"envelopes/{slug}.json").read_text())

    envelope = validator(slug).input_envelope.model_validate(golden)

    assert envelope.input_files[0].role == role
    assert sha256_hex_for_model(envelope) == digest
