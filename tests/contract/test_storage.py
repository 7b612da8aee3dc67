"""Contract of every storage: files of this machine and Cloud Storage."""

import datetime as dt
import uuid
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from devenv.gcp import Cloud
from devenv.pytest_plugin import ActAs
from validators.sdk import storage as storages
from validators.sdk.storage import ObjectMismatch
from validibot.core.storage import (
    ObjectExists,
    ObjectNotFound,
    ObjectTooLarge,
    Storage,
    StorageError,
    get_storage,
)

BUCKET = "validibot-local"


@pytest.fixture(params=["file", "gs"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URI of an unused folder."""
    if request.param == "file":
        yield tmp_path.as_uri()
        return
    act_as: ActAs = request.getfixturevalue("act_as")
    act_as("worker")
    storages._open.cache_clear()
    yield f"gs://{BUCKET}/tests/{uuid.uuid4()}"
    storages._open.cache_clear()


@pytest.fixture
def storage(root: str) -> Storage:
    return get_storage(root)


def test_created_object_can_be_read(storage: Storage, root: str) -> None:
    stored = storage.create(f"{root}/a/b.txt", b"hello", mime_type="text/plain")

    assert (stored.uri, stored.size_bytes) == (f"{root}/a/b.txt", 5)
    assert stored.sha256.startswith("2cf24dba")
    assert storage.read(stored.uri, limit=5) == b"hello"
    assert storage.current(stored.uri) == stored.version


@pytest.mark.parametrize("content", [b"second", b"first"])
def test_create_refuses_to_overwrite(storage: Storage, root: str, content: bytes) -> None:
    storage.create(f"{root}/x", b"first", mime_type="text/plain")

    with pytest.raises(ObjectExists):
        storage.create(f"{root}/x", content, mime_type="text/plain")

    assert storage.read(f"{root}/x", limit=10) == b"first"


def test_create_reads_stream_from_its_position(storage: Storage, root: str) -> None:
    source = BytesIO(b"..hello")
    source.seek(2)

    stored = storage.create(f"{root}/x", source, mime_type="text/plain")

    assert (stored.size_bytes, storage.read(stored.uri, limit=10)) == (5, b"hello")


def test_streamed_object_is_written_whole_or_not_at_all(storage: Storage, root: str) -> None:
    def interrupted() -> Iterator[bytes]:
        yield bytes(9 * 1024 * 1024)  # more than one part of an upload
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        storage.create_streamed(f"{root}/x", interrupted(), mime_type="text/plain")
    was_left = storage.current(f"{root}/x")
    stored = storage.create_streamed(f"{root}/x", iter([b"he", b"llo"]), mime_type="text/plain")
    with pytest.raises(ObjectExists):
        storage.create_streamed(f"{root}/x", [b"other"], mime_type="text/plain")

    assert was_left is None
    assert (stored.size_bytes, stored.sha256[:8]) == (5, "2cf24dba")
    assert storage.read(stored.uri, version=stored.version, limit=10) == b"hello"


def test_empty_object_can_be_read(storage: Storage, root: str) -> None:
    stored = storage.create(f"{root}/x", b"", mime_type="text/plain")

    assert storage.read(stored.uri, version=stored.version, limit=10) == b""
    assert b"".join(storage.stream(stored.uri)) == b""


@pytest.mark.parametrize("size", [4 * 1024 * 1024, 9 * 1024 * 1024 + 1])
def test_large_object_is_streamed_in_chunks(storage: Storage, root: str, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    stored = storage.create(f"{root}/x", BytesIO(content), mime_type="text/plain")

    chunks = list(storage.stream(stored.uri, version=stored.version))

    assert len(chunks) > 1 or size == 4 * 1024 * 1024
    assert b"".join(chunks) == content


def test_read_beyond_limit_raises_too_large(storage: Storage, root: str) -> None:
    storage.create(f"{root}/x", b"hello", mime_type="text/plain")

    with pytest.raises(ObjectTooLarge):
        storage.read(f"{root}/x", limit=4)


def test_missing_object_raises_not_found(storage: Storage, root: str) -> None:
    assert storage.current(f"{root}/x") is None
    with pytest.raises(ObjectNotFound):
        storage.read(f"{root}/x", limit=4)
    with pytest.raises(ObjectNotFound):
        list(storage.stream(f"{root}/x"))


@pytest.mark.parametrize("version", ["1", "sha256:" + "0" * 64, "nonsense"])
def test_unknown_version_raises_not_found(storage: Storage, root: str, version: str) -> None:
    storage.create(f"{root}/x", b"hello", mime_type="text/plain")

    with pytest.raises(ObjectNotFound):
        storage.read(f"{root}/x", version=version, limit=10)


def test_fetch_copies_promised_object(storage: Storage, root: str, tmp_path: Path) -> None:
    stored = storage.create(f"{root}/x", b"hello", mime_type="text/plain")

    storage.fetch(
        stored.uri,
        tmp_path / "copy",
        size=stored.size_bytes,
        sha256=stored.sha256,
        version=stored.version,
    )

    assert (tmp_path / "copy").read_bytes() == b"hello"


@pytest.mark.parametrize("promise", [{"size": 4}, {"size": 6}, {"sha256": "0" * 64}])
def test_fetch_of_other_content_raises_mismatch(
    storage: Storage, root: str, tmp_path: Path, promise: dict[str, Any]
) -> None:
    stored = storage.create(f"{root}/x", b"hello", mime_type="text/plain")
    expected: dict[str, Any] = {
        "size": stored.size_bytes,
        "sha256": stored.sha256,
        "version": stored.version,
    }

    with pytest.raises(ObjectMismatch):
        storage.fetch(stored.uri, tmp_path / "copy", **expected | promise)


def test_copy_refuses_to_overwrite(storage: Storage, root: str) -> None:
    stored = storage.create(f"{root}/x", b"hello", mime_type="text/plain")

    version = storage.copy(stored.uri, f"{root}/y", version=stored.version)

    assert storage.read(f"{root}/y", version=version, limit=10) == b"hello"
    with pytest.raises(ObjectExists):
        storage.copy(stored.uri, f"{root}/y", version=stored.version)


def test_delete_removes_one_object(storage: Storage, root: str) -> None:
    for name in ("a", "ab"):
        storage.create(f"{root}/{name}", b"1", mime_type="text/plain")

    assert storage.delete(f"{root}/a")
    assert not storage.delete(f"{root}/a")
    assert [item.uri for item in storage.list_below(root)] == [f"{root}/ab"]


def test_list_and_delete_leave_sibling_folders_alone(storage: Storage, root: str) -> None:
    made = [
        storage.create(f"{root}/{name}", b"1", mime_type="text/plain")
        for name in ("a/1", "a/b/2", "ab/3")
    ]

    assert {(item.uri, item.version) for item in storage.list_below(f"{root}/a/")} == {
        (item.uri, item.version) for item in made[:2]
    }
    now = timezone.now()
    for offset, expected in ((1, [item.uri for item in made[:2]]), (-1, [])):
        moment = now + dt.timedelta(hours=offset)
        assert sorted(storage.list_written_before(f"{root}/a/", moment)) == expected
    assert storage.delete_below(f"{root}/a") == 2
    assert [item.uri for item in storage.list_below(root)] == [f"{root}/ab/3"]
    assert storage.delete_below(f"{root}/a") == 0


@pytest.mark.parametrize("uri", ["gs://", "gs://bucket", "gs:///x", "gs://bucket/"])
def test_uri_without_object_name_is_refused(cloud: Cloud, act_as: ActAs, uri: str) -> None:
    act_as("worker")

    with pytest.raises(StorageError, match="gs://bucket/object"):
        get_storage("gs://bucket/x").read(uri, limit=1)


def test_missing_permission_raises_storage_error(cloud: Cloud, act_as: ActAs) -> None:
    act_as("scheduler")
    storages._open.cache_clear()

    with pytest.raises(StorageError, match=r"storage\.objects"):
        get_storage("gs://x/y").read(f"gs://{BUCKET}/x", limit=1)
    storages._open.cache_clear()
