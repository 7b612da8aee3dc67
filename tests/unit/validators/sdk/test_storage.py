"""`file://` storage, and what both kinds refuse before they touch anything."""

import hashlib
from pathlib import Path

import pytest

from validators.sdk.storage import open_storage
from validators.sdk.storage.base import ObjectExists, ObjectMismatch, ObjectMissing, StorageError
from validators.sdk.storage.file import FileStorage

CONTENT = b"a model"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def stored(tmp_path: Path) -> str:
    path = tmp_path / "model.idf"
    path.write_bytes(CONTENT)
    return path.as_uri()


def fetch(uri: str, target: Path, **other: object) -> None:
    promise = {"size": len(CONTENT), "sha256": SHA256, "version": f"sha256:{SHA256}", **other}
    FileStorage().fetch(uri, target, **promise)  # type: ignore[arg-type]


def test_a_file_that_keeps_its_promise_is_copied(stored: str, tmp_path: Path) -> None:
    fetch(stored, tmp_path / "copy")

    assert (tmp_path / "copy").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "broken",
    [{"size": 3}, {"size": 300}, {"sha256": "0" * 64}, {"version": "sha256:0"}, {"version": "17"}],
)
def test_a_broken_promise_is_refused(
    stored: str, tmp_path: Path, broken: dict[str, object]
) -> None:
    with pytest.raises(ObjectMismatch):
        fetch(stored, tmp_path / "copy", **broken)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ObjectMissing):
        fetch((tmp_path / "nothing").as_uri(), tmp_path / "copy")


def test_reading_stops_at_the_limit(stored: str) -> None:
    with pytest.raises(ObjectMismatch, match="larger than"):
        FileStorage().read(stored, limit=3)


def test_a_new_file_has_its_digest_as_version(tmp_path: Path) -> None:
    uri = (tmp_path / "deep/er/out.json").as_uri()

    assert FileStorage().create(uri, CONTENT, mime_type="text/plain") == f"sha256:{SHA256}"
    assert FileStorage().read(uri, limit=100) == CONTENT
    assert (tmp_path / "deep/er/out.json").stat().st_mode & 0o777 == 0o644


def test_nothing_is_ever_overwritten(stored: str, tmp_path: Path) -> None:
    with pytest.raises(ObjectExists):
        FileStorage().create(stored, CONTENT, mime_type="text/plain")

    assert [path.name for path in tmp_path.iterdir()] == ["model.idf"]


@pytest.mark.parametrize(
    "uri",
    ["file://host/x", "file:relative", "file:///a/../b", "http://x/y", "s3://b/o", "", "plain"],
)
def test_other_uris_are_refused(uri: str) -> None:
    with pytest.raises(StorageError):
        open_storage(uri).read(uri, limit=1)
