"""What only file:// has: paths, and nothing outside them."""

import errno
import os
import stat
from io import BytesIO
from pathlib import Path

import pytest
from pytest_django import Settings

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


@pytest.fixture
def root(settings: Settings, tmp_path: Path) -> Path:
    """Files that validators may write among; a secret lies beside."""
    settings.DATA_ROOT = (tmp_path / "root").as_uri()
    (tmp_path / "root").mkdir()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text("sesame")
    return tmp_path / "root"


@pytest.mark.parametrize(("link", "target"), [("key", "../secrets/key"), ("folder", "../secrets")])
def test_no_link_of_a_validator_is_followed(root: Path, link: str, target: str) -> None:
    (root / link).symlink_to(target)
    uri = f"{root.as_uri()}/{link}" + ("/key" if link == "folder" else "")

    with pytest.raises(ObjectNotFound):
        get_storage(uri).read(uri, limit=100)
    assert get_storage(uri).current(uri) is None
    assert list(get_storage(uri).list_below(root.as_uri())) == []


def test_a_named_pipe_of_a_validator_is_no_object_and_nobody_waits_for_it(root: Path) -> None:
    os.mkfifo(root / "pipe")
    uri = f"{root.as_uri()}/pipe"

    with pytest.raises(ObjectNotFound):
        get_storage(uri).read(uri, limit=100)


def test_a_socket_of_a_validator_is_no_object(root: Path) -> None:
    os.mknod(root / "output.json", stat.S_IFSOCK | 0o600)

    with pytest.raises(ObjectNotFound):
        get_storage("file:///x").read((root / "output.json").as_uri(), limit=10)


def test_what_a_validator_keeps_to_itself_is_no_object(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "output.json").write_text("{}")
    really = os.open

    def refuse(path: str | Path, flags: int, *, dir_fd: int | None = None) -> int:
        if path == "output.json":
            raise PermissionError(errno.EACCES, "Permission denied")
        return really(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)

    assert get_storage("file:///x").current((root / "output.json").as_uri()) is None


def test_where_the_root_itself_is_a_link_its_files_are_read(root: Path, settings: Settings) -> None:
    (root / "x").write_bytes(b"1")
    linked = root.parent / "linked"
    linked.symlink_to("root")
    settings.DATA_ROOT = linked.as_uri()

    assert get_storage(settings.DATA_ROOT).read(f"{linked.as_uri()}/x", limit=10) == b"1"
