"""Files that are sent beside a submission: intake, storage, envelope, documents and deletion."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import Settings

from tests.factories import AttemptFactory
from tests.unit.validibot.api.conftest import Api
from validibot.core.storage import get_storage
from validibot.runs.backends import get_backend
from validibot.runs.deletion import delete_runs
from validibot.runs.envelope import store_envelope
from validibot.runs.evidence import evidence_of, record_evidence
from validibot.runs.models import Run
from validibot.submissions.content import INLINE_BYTES
from validibot.submissions.models import Submission, SubmissionFile
from validibot.workflows.models import Validator, Workflow

pytestmark = pytest.mark.django_db

RUNS = "orgs/acme/workflows/people/runs/"


@pytest.fixture
def taking(people: Workflow, settings: Settings, tmp_path: Path) -> Workflow:
    """A workflow whose validator takes further files; its runs are not executed."""
    settings.DATA_ROOT = tmp_path.as_uri()
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}
    Validator.objects.update(accepts_further_files=True)
    return people


def form(*files: tuple[str, bytes], **fields: str) -> dict[str, Any]:
    parts = [SimpleUploadedFile(name, content) for name, content in files]
    return {"file": SimpleUploadedFile("model.json", b"{}"), "files": parts, **fields}


def stored(root: Path) -> list[str]:
    folder = root / "submissions"
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_form_takes_further_files(alice: Api, taking: Workflow) -> None:
    large = b"1,2\n" * INLINE_BYTES
    launched = alice.post(RUNS, form(("Load 1.csv", b"0.5"), ("größe.csv", large)))

    run = alice.get(launched.json()["url"].removeprefix("/api/v1/")).json()
    digest = hashlib.sha256(b"0.5").hexdigest()
    assert launched.status_code == 202
    assert run["further_files"] == launched.json()["further_files"]
    assert run["further_files"][0] == {"filename": "Load 1.csv", "size_bytes": 3, "sha256": digest}
    first, second = SubmissionFile.objects.all()
    assert (first.inline is not None, second.inline) == (True, None)
    assert get_storage(second.uri).read(second.uri, limit=len(large)) == large


def test_envelope_takes_further_files(alice: Api, taking: Workflow) -> None:
    encoded = base64.b64encode(b"\xff").decode()
    files = [
        {"filename": "a.csv", "content": "1"},
        {"filename": "b.bin", "content": encoded, "content_encoding": "base64"},
    ]
    envelope = {"content": "{}", "filename": "model.json", "files": files}

    answer = alice.post(RUNS, json.dumps(envelope), "application/json")

    assert answer.status_code == 202
    received = [(file.filename, bytes(file.inline or b"")) for file in SubmissionFile.objects.all()]
    assert received == [("a.csv", b"1"), ("b.bin", b"\xff")]


@pytest.mark.parametrize(
    "files",
    ["a.csv", [1], [{"filename": "a.csv"}], [{"filename": "a", "content": "", "mode": "w"}]],
)
def test_malformed_files_of_envelope_are_refused(
    alice: Api, taking: Workflow, files: object
) -> None:
    envelope = json.dumps({"content": "{}", "files": files})

    answer = alice.post(RUNS, envelope, "application/json")

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "files")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([("MODEL.json", b"1")], "Two files are called 'model.json'"),
        ([("a.csv", b"1"), ("A.csv", b"2")], "Two files are called 'a.csv'"),
        ([("a.csv", b"")], "a.csv is empty"),
        ([(f"{number}.csv", b"1") for number in range(21)], "21 further files were sent"),
        ([(f"{'ä' * 101}.csv", b"1")], "more than 200 bytes"),
    ],
)
def test_unusable_further_files_are_refused_by_name(
    alice: Api, taking: Workflow, files: list[tuple[str, bytes]], reason: str
) -> None:
    answer = alice.post(RUNS, form(*files))

    assert answer.status_code == 400
    assert reason in answer.json()["detail"]
    assert not Submission.objects.exists()


def test_files_together_are_bounded(alice: Api, taking: Workflow, settings: Settings) -> None:
    settings.MAX_UPLOAD_BYTES = 10

    answer = alice.post(RUNS, form(("a.csv", b"12345"), ("b.csv", b"12345")))

    assert (answer.status_code, answer.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_further_file_for_other_validators_is_refused_by_name(alice: Api, people: Workflow) -> None:
    answer = alice.post(RUNS, form(("a.csv", b"1")))

    assert (answer.status_code, answer.json()["code"]) == (400, "FURTHER_FILES_UNSUPPORTED")
    assert answer.json()["detail"].startswith("a.csv cannot be sent")


def test_retry_with_another_further_file_is_no_replay(alice: Api, taking: Workflow) -> None:
    key = {"Idempotency-Key": "k"}
    first = alice.post(RUNS, form(("a.csv", b"1")), **key).json()

    again = alice.post(RUNS, form(("a.csv", b"1")), **key)
    other = alice.post(RUNS, form(("a.csv", b"2")), **key)

    assert again.json()["id"] == first["id"]
    assert again.json()["further_files"] == first["further_files"]
    assert other.status_code == 422


def test_stored_further_file_of_a_replay_is_removed(
    alice: Api, taking: Workflow, tmp_path: Path
) -> None:
    for _ in range(2):
        files = form(("a.csv", b"1" * (INLINE_BYTES + 1)))
        alice.post(RUNS, files, **{"Idempotency-Key": "k"})

    assert stored(tmp_path) == ["1"]


def test_files_are_deleted_with_their_run(alice: Api, taking: Workflow, tmp_path: Path) -> None:
    alice.post(RUNS, form(("a.csv", b"1" * (INLINE_BYTES + 1))))
    assert stored(tmp_path)

    delete_runs(Run.objects.all())

    assert stored(tmp_path) == []
    assert not SubmissionFile.objects.exists()


def test_envelope_hands_further_files_to_validator(
    alice: Api, taking: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A confined validator finds them in its own folder, also those with similar names."""
    large = b"1" * (INLINE_BYTES + 1)
    alice.post(RUNS, form(("a b.csv", large), ("a_b.csv", large), ("c.csv", b"1")))
    run = Run.objects.get()
    step_run = run.steps.get()
    bundle = (tmp_path / "attempt").as_uri()
    uris = {"bundle_uri": bundle, "input_uri": f"{bundle}/input.json"}
    attempt = AttemptFactory.create(step_run=step_run, **uris)
    backend = get_backend()
    monkeypatch.setattr(type(backend), "confines", True)

    store_envelope(attempt, step_run, run, nonce="n" * 43, backend=backend)

    uri = attempt.input_uri
    envelope = json.loads(get_storage(uri).read(uri, limit=100_000))
    items = [item for item in envelope["resource_files"] if item["port_key"] == "further_files"]
    assert [item["name"] for item in items] == ["a b.csv", "a_b.csv", "c.csv"]
    assert {item["type"] for item in items} == {"further_file"}
    assert all(item["uri"].startswith(f"{attempt.bundle_uri}/inputs/") for item in items)
    assert len({item["uri"] for item in items}) == 3


def test_evidence_lists_further_files(alice: Api, taking: Workflow) -> None:
    alice.post(RUNS, form(("a.csv", b"1")))
    Run.objects.update(status="SUCCEEDED", ended_at=Run.objects.get().created_at)
    record_evidence(Run.objects.get())

    submission = evidence_of(Run.objects.get()).contents["submission"]

    digest = hashlib.sha256(b"1").hexdigest()
    assert submission["further_files"] == [{"filename": "a.csv", "size_bytes": 1, "sha256": digest}]


def test_page_takes_and_lists_further_files(alice: Api, taking: Workflow) -> None:
    browser = Client()
    browser.login(email="alice@example.com", password="secret")
    page = browser.get("/app/orgs/acme/workflows/people/").content.decode()

    launched = browser.post("/app/orgs/acme/workflows/people/", form(("a.csv", b"1")))

    assert 'name="files"' in page
    assert launched.status_code == 302
    assert "a.csv" in browser.get(launched.headers["Location"]).content.decode()
