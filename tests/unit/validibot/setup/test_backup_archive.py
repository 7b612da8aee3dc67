"""Backup archives: incomplete and changed ones are refused, and files stay in their folder."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from unittest.mock import Mock

import pytest

from validibot.setup.backup import BackupError, dump_database
from validibot.setup.backup.archive import (
    DATABASE,
    MANIFEST,
    SUMS,
    BackupManifest,
    BackupWriter,
    add_files,
    open_backup,
    restore_file,
)

_MANIFEST = BackupManifest(
    made_at="now", data_root="file:///srv", has_files=True, migrations=["a.0001"]
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    (made / "runs").mkdir(parents=True)
    (made / "runs" / "käse \n.json").write_text("{}")
    (made / "runs" / ".new-draft").write_text("half")
    (made / "runs" / "link").symlink_to("/etc/hostname")
    return made


def make(path: Path, folder: Path) -> Path:
    with path.open("wb") as output:
        writer = BackupWriter(output, _MANIFEST)
        writer.add(DATABASE, io.BytesIO(b"rows"), 4)
        add_files(folder, writer)
        assert writer.close() == 1
    return path


def changed(path: Path, **contents: bytes) -> None:
    """Replace the contents of members of a tar; add those that it does not have."""
    with tarfile.open(path) as tar:
        found = {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]
    with tarfile.open(path, "w") as tar:
        for name, content in (found | _by_name(contents)).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def _by_name(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    names = {"manifest": MANIFEST, "sums": SUMS, "database": DATABASE, "other": "files/other"}
    return {names[key]: content for key, content in contents.items()}


def refusal(path: Path) -> str:
    with pytest.raises(BackupError) as caught, open_backup(path):
        pass
    return str(caught.value)


def test_backup_holds_files_without_links_and_drafts(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "again"
    with open_backup(make(tmp_path / "b.tar", folder)) as archive:
        assert archive.manifest == _MANIFEST
        assert archive.database().read() == b"rows"
        for name, sha256, content in archive.files():
            assert restore_file(target, name, content, sha256, replace=False)
            assert not restore_file(target, name, content, sha256, replace=False)

    assert [path.name for path in (target / "runs").iterdir()] == ["käse \n.json"]


@pytest.mark.parametrize("kept", [0, 100, 600, 2000, 4000])
def test_truncated_backup_is_refused(folder: Path, tmp_path: Path, kept: int) -> None:
    path = make(tmp_path / "b.tar", folder)
    path.write_bytes(path.read_bytes()[:kept])

    assert refusal(path)


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({"database": b"others"}, "damaged: wrong checksum of database.dump"),
        ({"other": b"more"}, "differ from the list in sums.json"),
        ({"sums": b"[" * 100_000}, "sums.json cannot be read"),
        ({"sums": b"[]"}, "sums.json cannot be read"),
    ],
)
def test_changed_backup_is_refused(
    folder: Path, tmp_path: Path, contents: dict[str, bytes], said: str
) -> None:
    path = make(tmp_path / "b.tar", folder)
    changed(path, **contents)

    assert said in refusal(path)


def _with_manifest(path: Path, manifest: object) -> None:
    content = json.dumps(manifest).encode()
    with tarfile.open(path) as tar:
        sums = json.loads(tar.extractfile(SUMS).read())  # type: ignore[union-attr]
    sums[MANIFEST] = hashlib.sha256(content).hexdigest()
    changed(path, manifest=content, sums=json.dumps(sums).encode())


def test_unknown_format_error_names_both_formats(folder: Path, tmp_path: Path) -> None:
    path = make(tmp_path / "b.tar", folder)
    _with_manifest(path, {"format": 2})

    assert "has the format 2; this version reads 1" in refusal(path)


@pytest.mark.parametrize("migrations", [5, None, "a.0001", [["a.0001"]]])
def test_manifest_with_wrong_types_is_refused(
    folder: Path, tmp_path: Path, migrations: object
) -> None:
    path = make(tmp_path / "b.tar", folder)
    _with_manifest(path, asdict(_MANIFEST) | {"migrations": migrations})

    assert "`migrations` must be a list of strings" in refusal(path)


def test_other_or_missing_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(b"PK" * 4000)

    assert "is not a complete backup" in refusal(tmp_path / "b.tar")
    assert "File not found: " in refusal(tmp_path / "nothing.tar")


def test_restore_does_not_write_through_link(tmp_path: Path) -> None:
    folder, outside = tmp_path / "files", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "runs").symlink_to(outside)

    with pytest.raises(BackupError, match="leads out of"):
        restore_file(folder, PurePosixPath("runs/x"), io.BytesIO(), "", replace=True)


def test_different_file_is_replaced_only_with_replace(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    name, other = PurePosixPath("x"), "0" * 64

    with pytest.raises(BackupError, match="Restore with --replace"):
        restore_file(tmp_path, name, io.BytesIO(b"new"), other, replace=False)
    assert restore_file(tmp_path, name, io.BytesIO(b"new"), other, replace=True)
    assert (tmp_path / "x").read_text() == "new"


def test_dump_leaves_out_rows_that_open_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Mock()
    monkeypatch.setattr("validibot.setup.backup._run", run)

    dump_database(io.BytesIO())

    left_out = {f"--exclude-table-data={table}" for table in ("django_session", "core_pendingmail")}
    assert left_out <= set(run.call_args.args)
