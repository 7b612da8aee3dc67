"""What every storage promises, on a file system and on Cloud Storage."""

import uuid
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from devenv.gcp import Cloud
from tests.cloud import ActAs
from validibot.core import storage as storages
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
    """A folder that nobody else uses."""
    if request.param == "file":
        yield tmp_path.as_uri()
        return
    act_as: ActAs = request.getfixturevalue("act_as")
    act_as("worker")
    storages._storage.cache_clear()
    yield f"gs://{BUCKET}/tests/{uuid.uuid4()}"
    storages._storage.cache_clear()


@pytest.fixture
def storage(root: str) -> Storage:
    return get_storage(root)


def test_what_was_written_is_read(storage: Storage, root: str) -> None:
    stored = storage.create(f"{root}/a/b.txt", b"hello", mime_type="text/plain")

    assert (stored.uri, stored.size_bytes) == (f"{root}/a/b.txt", 5)
    assert stored.sha256.startswith("2cf24dba")
    assert storage.read(stored.uri, limit=5) == b"hello"
    assert storage.current(stored.uri) == stored.version


@pytest.mark.parametrize("content", [b"second", b"first"])
def test_nothing_is_written_over(storage: Storage, root: str, content: bytes) -> None:
    storage.create(f"{root}/x", b"first", mime_type="text/plain")

    with pytest.raises(ObjectExists):
        storage.create(f"{root}/x", content, mime_type="text/plain")

    assert storage.read(f"{root}/x", limit=10) == b"first"


def test_a_stream_is_written_from_where_it_stands(storage: Storage, root: str) -> None:
    source = BytesIO(b"..hello")
    source.seek(2)

    stored = storage.create(f"{root}/x", source, mime_type="text/plain")

    assert (stored.size_bytes, storage.read(stored.uri, limit=10)) == (5, b"hello")


def test_an_empty_object_is_an_object(storage: Storage, root: str) -> None:
    stored = storage.create(f"{root}/x", b"", mime_type="text/plain")

    assert storage.read(stored.uri, version=stored.version, limit=10) == b""
    assert b"".join(storage.stream(stored.uri)) == b""


@pytest.mark.parametrize("size", [4 * 1024 * 1024, 9 * 1024 * 1024 + 1])
def test_a_large_object_is_streamed_in_chunks(storage: Storage, root: str, size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    stored = storage.create(f"{root}/x", BytesIO(content), mime_type="text/plain")

    chunks = list(storage.stream(stored.uri, version=stored.version))

    assert len(chunks) > 1 or size == 4 * 1024 * 1024
    assert b"".join(chunks) == content


def test_more_than_the_limit_is_not_read(storage: Storage, root: str) -> None:
    storage.create(f"{root}/x", b"hello", mime_type="text/plain")

    with pytest.raises(ObjectTooLarge):
        storage.read(f"{root}/x", limit=4)


def test_what_is_not_there_is_said_so(storage: Storage, root: str) -> None:
    assert storage.current(f"{root}/x") is None
    with pytest.raises(ObjectNotFound):
        storage.read(f"{root}/x", limit=4)
    with pytest.raises(ObjectNotFound):
        list(storage.stream(f"{root}/x"))


@pytest.mark.parametrize("version", ["1", "sha256:" + "0" * 64, "nonsense"])
def test_another_version_is_not_there(storage: Storage, root: str, version: str) -> None:
    storage.create(f"{root}/x", b"hello", mime_type="text/plain")

    with pytest.raises(ObjectNotFound):
        storage.read(f"{root}/x", version=version, limit=10)


def test_a_version_is_copied_once(storage: Storage, root: str) -> None:
    stored = storage.create(f"{root}/x", b"hello", mime_type="text/plain")

    version = storage.copy(stored.uri, f"{root}/y", version=stored.version)

    assert storage.read(f"{root}/y", version=version, limit=10) == b"hello"
    with pytest.raises(ObjectExists):
        storage.copy(stored.uri, f"{root}/y", version=stored.version)


def test_a_folder_is_listed_and_deleted_without_its_neighbours(storage: Storage, root: str) -> None:
    made = [
        storage.create(f"{root}/{name}", b"1", mime_type="text/plain")
        for name in ("a/1", "a/b/2", "ab/3")
    ]

    assert {(item.uri, item.version) for item in storage.list_below(f"{root}/a/")} == {
        (item.uri, item.version) for item in made[:2]
    }
    assert storage.delete_below(f"{root}/a") == 2
    assert [item.uri for item in storage.list_below(root)] == [f"{root}/ab/3"]
    assert storage.delete_below(f"{root}/a") == 0


@pytest.mark.parametrize("uri", ["gs://", "gs://bucket", "gs:///x", "gs://bucket/"])
def test_a_uri_that_names_no_object_is_refused(cloud: Cloud, act_as: ActAs, uri: str) -> None:
    act_as("worker")

    with pytest.raises(StorageError, match="gs://bucket/object"):
        get_storage("gs://bucket/x").read(uri, limit=1)


def test_what_an_account_may_not_do_is_an_error_of_storage(cloud: Cloud, act_as: ActAs) -> None:
    act_as("scheduler")
    storages._storage.cache_clear()

    with pytest.raises(StorageError, match=r"storage\.objects"):
        get_storage("gs://x/y").read(f"gs://{BUCKET}/x", limit=1)
    storages._storage.cache_clear()
