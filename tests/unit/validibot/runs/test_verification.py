"""Evidence bundles: a bundle as it was written is valid, and each change of it is named."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from tests.factories import (
    ArtifactFactory,
    FindingFactory,
    RunFactory,
    StepFactory,
    StepRunFactory,
)
from validibot.core.storage import get_storage
from validibot.runs import verification
from validibot.runs.bundle import write_bundle
from validibot.runs.evidence import evidence_of
from validibot.runs.models import Run
from validibot.runs.verification import BundleInvalid, Verification, verify

pytestmark = pytest.mark.django_db

ARTIFACT = "artifacts/step-1/results%2Fännual.csv"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with findings, outputs, a kept artifact, one that is gone, and a skipped step."""
    made = RunFactory.create(
        status="FAILED", error_category="VALIDATION_FAILED", ended_at=timezone.now()
    )
    step = StepFactory.create(workflow=made.workflow)
    first = StepRunFactory.create(
        run=made, step=step, status="FAILED", outputs={"eui": 373.10000000000002, "ä": [1e-7, None]}
    )
    for message in ("Too hïgh.", "Too low."):
        FindingFactory.create(run=made, step_run=first, message=message, line=3)
    uri = f"{tmp_path.as_uri()}/annual.csv"
    stored = get_storage(uri).create(uri, b"month,kwh\n", mime_type="text/csv")
    ArtifactFactory.create(
        step_run=first,
        name="results/ännual.csv",
        uri=uri,
        storage_version=stored.version,
        sha256=hashlib.sha256(b"month,kwh\n").hexdigest(),
    )
    ArtifactFactory.create(step_run=first, name="gone.csv", uri=f"{tmp_path.as_uri()}/gone.csv")
    second = StepFactory.create(workflow=made.workflow, order=2)
    StepRunFactory.create(run=made, step=second, status="SKIPPED")
    return made


@pytest.fixture
def bundle(run: Run, tmp_path: Path) -> Path:
    path = tmp_path / "bundle.zip"
    path.write_bytes(b"".join(write_bundle(run)))
    return path


def rewritten(bundle: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """Write the files of the bundle again after a change of them."""
    with zipfile.ZipFile(bundle) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return bundle


def relisted(files: dict[str, bytes]) -> None:
    """Write the listing again, as somebody would who wants to hide a change."""
    names = [name for name in files if name != "SHA256SUMS"]
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in names)
    files["SHA256SUMS"] = "".join(lines).encode()


def test_written_bundle_is_valid_and_has_digests_of_evidence(run: Run, bundle: Path) -> None:
    found = verify(bundle)

    evidence = evidence_of(run)
    assert found.is_valid
    assert (found.verified, found.not_kept) == (6, ["artifacts/step-1/gone.csv"])
    assert found.manifest_sha256 == evidence.manifest_sha256
    assert found.contents_sha256 == evidence.contents_sha256
    assert verify(bundle, evidence.contents_sha256.upper()).is_valid
    with pytest.raises(BundleInvalid, match="proves no findings"):
        verify(bundle, evidence.manifest_sha256)


def test_unpacked_bundle_is_checked_by_sha256sum(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(folder)

    done = subprocess.run(
        ("sha256sum", "--check", "--strict", "SHA256SUMS"),
        cwd=folder,
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout.count(b"OK")) == (0, 6), done.stderr


def _edit(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], object]:
    def change(files: dict[str, bytes]) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new)

    return change


CHANGES: dict[str, tuple[Callable[[dict[str, bytes]], object], str, str]] = {
    "file": (
        _edit("submission/document.json", b"Ada", b"Eve"),
        "changed",
        "submission/document.json",
    ),
    "artifact removed": (lambda files: files.pop(ARTIFACT), "missing", ARTIFACT),
    "file added": (lambda files: files.update(more=b""), "added", "more"),
    "finding": (_edit("findings.jsonl", b"Too low", b"Too old"), "changed", "findings.jsonl"),
    "finding removed": (
        lambda files: files.update({"findings.jsonl": b""}),
        "changed",
        "findings.jsonl",
    ),
    "finding cut short": (_edit("findings.jsonl", b"}\n", b"\n"), "changed", "findings.jsonl"),
    "outputs of another form": (_edit("outputs.json", b"{", b"["), "changed", "outputs.json"),
    "output": (_edit("outputs.json", b"373", b"173"), "changed", "outputs.json"),
    "outputs removed": (lambda files: files.pop("outputs.json"), "missing", "outputs.json"),
}


@pytest.mark.parametrize("is_hidden", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_change_of_bundle_is_named(bundle: Path, name: str, *, is_hidden: bool) -> None:
    change, kind, path = CHANGES[name]

    def changed(files: dict[str, bytes]) -> None:
        change(files)
        if is_hidden:
            relisted(files)

    found = verify(rewritten(bundle, changed))

    if is_hidden and name == "artifact removed":
        # It cannot be told from a file that retention removed, and is named as one.
        kind = "not_kept"
    assert path in getattr(found, kind)
    assert found.is_valid == (kind == "not_kept")


@pytest.mark.parametrize("name", ["findings.jsonl", "submission/document.json"])
def test_damaged_file_is_named(bundle: Path, name: str) -> None:
    content = bytearray(bundle.read_bytes())
    content[content.index(b"Too" if name == "findings.jsonl" else b"Ada")] ^= 1
    bundle.write_bytes(content)

    assert verify(bundle).changed == [name]


def test_changed_evidence_differs_from_known_digest(run: Run, bundle: Path) -> None:
    def changed(files: dict[str, bytes]) -> None:
        name = "evidence/contents.json"
        files[name] = files[name].replace(b'"result":"FAIL"', b'"result":"PASS"')
        relisted(files)

    rewritten(bundle, changed)

    assert verify(bundle).result == "PASS"
    found = verify(bundle, evidence_of(run).contents_sha256)
    assert found.changed == ["evidence/contents.json", "evidence/manifest.json"]


def test_manifest_that_differs_from_contents_is_named(run: Run, bundle: Path) -> None:
    def changed(files: dict[str, bytes]) -> None:
        name = "evidence/manifest.json"
        files[name] = files[name].replace(b'"validator_version":"', b'"validator_version":"9')
        relisted(files)

    rewritten(bundle, changed)

    found = verify(bundle, evidence_of(run).contents_sha256)
    assert found.changed == ["evidence/contents.json", "evidence/manifest.json"]


def _zip_of(**files: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


_ENDLESS = json.dumps(
    {
        **dict.fromkeys(("run_id", "status", "result"), "x"),
        "submission": {"filename": "a", "sha256": "0"},
        "steps": [{"order": float("inf"), "artifacts": [{"name": "a", "sha256": "0"}]}],
    }
).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"no zip at all", "cannot be read"),
        (_zip_of(a=b""), "no SHA256SUMS"),
        (_zip_of(SHA256SUMS=b"12  a\n"), "Line 1 of SHA256SUMS"),
        (_zip_of(SHA256SUMS=b""), "no evidence/contents.json"),
        (_zip_of(aä=b"").replace("aä".encode(), b"a\xff\xff"), "cannot be read"),
        (
            _zip_of(
                **{
                    "SHA256SUMS": b"",
                    "evidence/contents.json": _ENDLESS,
                    "evidence/manifest.json": b"{}",
                }
            ),
            "not the expected form",
        ),
        (
            _zip_of(**{"SHA256SUMS": b"", "evidence/contents.json": b"[" * 100_000}),
            "contents.json is not JSON",
        ),
        (
            _zip_of(
                **{
                    "SHA256SUMS": b"",
                    "evidence/contents.json": b"{}",
                    "evidence/manifest.json": b"{}",
                }
            ),
            "not the expected form",
        ),
    ],
)
def test_unusable_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(content)

    with pytest.raises(BundleInvalid, match=message):
        verify(path)


def test_bundle_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(_zip_of(a=b"\x00" * (65 << 20)))

    with pytest.raises(BundleInvalid, match="claim to unpack to 68,157,440"):
        verify(path)


def test_entries_that_share_bytes_are_refused(bundle: Path) -> None:
    with zipfile.ZipFile(bundle, "a") as archive:
        twin = zipfile.ZipInfo("twin")
        first = archive.infolist()[0]
        for name in ("header_offset", "file_size", "compress_size", "CRC", "compress_type"):
            setattr(twin, name, getattr(first, name))
        archive.filelist.append(twin)
        archive._didModify = True  # type: ignore[attr-defined]

    with pytest.raises(BundleInvalid, match="cannot be read"):
        verify(bundle)


def test_bundle_of_unfinished_run_is_refused(run: Run, tmp_path: Path) -> None:
    run.ended_at = None
    path = tmp_path / "bundle.zip"
    path.write_bytes(b"".join(write_bundle(run)))

    with pytest.raises(BundleInvalid, match="of a run that has ended"):
        verify(path)


def test_command_reports_by_exit_code_and_json(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("verify_evidence", bundle)
    assert "The bundle is valid: 6 files verified." in capsys.readouterr().out

    rewritten(bundle, _edit("submission/document.json", b"Ada", b"Eve"))
    with pytest.raises(SystemExit) as differs:
        call_command("verify_evidence", bundle, json=True)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (differs.value.code, found["valid"]) == (1, False)
    assert found["changed"] == ["submission/document.json"]

    with pytest.raises(SystemExit) as unusable:
        call_command("verify_evidence", tmp_path / "none.zip")
    assert unusable.value.code == 2
    assert "none.zip cannot be verified: No such file" in capsys.readouterr().out


def test_module_runs_alone_without_django(bundle: Path) -> None:
    done = subprocess.run(
        (sys.executable, "-I", verification.__file__, bundle, "--json"),
        capture_output=True,
        check=False,
    )

    assert (done.returncode, json.loads(done.stdout)["valid"]) == (0, True), done.stderr


def test_control_characters_of_paths_are_written_out() -> None:
    assert verification.printable("\x1b[31mä") == "\\x1b[31mä"
    assert Verification("", "", "", "", "").is_valid
