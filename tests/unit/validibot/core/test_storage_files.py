"""What only file:// has: paths, and nothing outside them."""

from io import BytesIO
from pathlib import Path

import pytest

from validibot.core.storage import ObjectNotFound, StorageError, get_storage


@pytest.mark.parametrize(
    "uri",
    [
        "file://host/x",
        "file:relative",
        "file:///a/../b",
        "file:///a?b",
        "file:///a%00b",
        "file:///a#b",
    ],
)
def test_a_uri_that_is_no_absolute_path_is_refused(uri: str) -> None:
    with pytest.raises(StorageError, match="absolute path"):
        get_storage("file:///x").read(uri, limit=10)


@pytest.mark.parametrize("uri", ["", "/tmp/x", "s3://bucket/x", "http://host/x"])
def test_an_unknown_scheme_is_refused(uri: str) -> None:
    with pytest.raises(StorageError):
        get_storage(uri)


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    class Broken(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    uri = f"{tmp_path.as_uri()}/x"
    with pytest.raises(StorageError):
        get_storage(uri).create(uri, Broken(), mime_type="text/plain")

    assert list(tmp_path.iterdir()) == []


def test_folders_with_odd_names_work(tmp_path: Path) -> None:
    uri = f"{(tmp_path / 'a b#c%20d ☃').as_uri()}/x"

    get_storage(uri).create(uri, b"1", mime_type="text/plain")

    assert (tmp_path / "a b#c%20d ☃" / "x").read_bytes() == b"1"


def test_a_file_that_was_changed_is_not_the_version_that_was_written(tmp_path: Path) -> None:
    uri = f"{tmp_path.as_uri()}/x"
    version = get_storage(uri).create(uri, b"1", mime_type="text/plain").version
    (tmp_path / "x").write_bytes(b"2")

    with pytest.raises(ObjectNotFound):
        get_storage(uri).read(uri, version=version, limit=10)
