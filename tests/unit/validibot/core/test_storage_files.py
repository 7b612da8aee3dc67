"""Storage at file://: paths, links and special files."""

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
def test_uri_without_absolute_path_is_refused(uri: str) -> None:
    with pytest.raises(StorageError, match="absolute path"):
        get_storage("file:///x").read(uri, limit=10)


@pytest.mark.parametrize("uri", ["", "/tmp/x", "s3://bucket/x", "http://host/x"])
def test_unknown_scheme_is_refused(uri: str) -> None:
    with pytest.raises(StorageError):
        get_storage(uri)


def test_interrupted_write_leaves_no_file(tmp_path: Path) -> None:
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


def test_changed_file_is_not_found_in_old_version(tmp_path: Path) -> None:
    uri = f"{tmp_path.as_uri()}/x"
    version = get_storage(uri).create(uri, b"1", mime_type="text/plain").version
    (tmp_path / "x").write_bytes(b"2")

    with pytest.raises(ObjectNotFound):
        get_storage(uri).read(uri, version=version, limit=10)


@pytest.fixture
def root(settings: Settings, tmp_path: Path) -> Path:
    """Return a DATA_ROOT in which validators write; a secret is beside it."""
    settings.DATA_ROOT = (tmp_path / "root").as_uri()
    (tmp_path / "root").mkdir()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_text("sesame")
    return tmp_path / "root"


@pytest.mark.parametrize(("link", "target"), [("key", "../secrets/key"), ("folder", "../secrets")])
def test_symbolic_link_below_data_root_is_not_followed(root: Path, link: str, target: str) -> None:
    (root / link).symlink_to(target)
    uri = f"{root.as_uri()}/{link}" + ("/key" if link == "folder" else "")

    with pytest.raises(ObjectNotFound):
        get_storage(uri).read(uri, limit=100)
    assert get_storage(uri).current(uri) is None
    assert list(get_storage(uri).list_below(root.as_uri())) == []


def test_named_pipe_is_not_found_without_waiting(root: Path) -> None:
    os.mkfifo(root / "pipe")
    uri = f"{root.as_uri()}/pipe"

    with pytest.raises(ObjectNotFound):
        get_storage(uri).read(uri, limit=100)


def test_socket_is_not_found(root: Path) -> None:
    os.mknod(root / "output.json", stat.S_IFSOCK | 0o600)

    with pytest.raises(ObjectNotFound):
        get_storage("file:///x").read((root / "output.json").as_uri(), limit=10)


def test_unreadable_file_is_not_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "output.json").write_text("{}")
    really = os.open

    def refuse(path: str | Path, flags: int, *, dir_fd: int | None = None) -> int:
        if path == "output.json":
            raise PermissionError(errno.EACCES, "Permission denied")
        return really(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", refuse)

    assert get_storage("file:///x").current((root / "output.json").as_uri()) is None


def test_data_root_may_be_a_symbolic_link(root: Path, settings: Settings) -> None:
    (root / "x").write_bytes(b"1")
    linked = root.parent / "linked"
    linked.symlink_to("root")
    settings.DATA_ROOT = linked.as_uri()

    assert get_storage(settings.DATA_ROOT).read(f"{linked.as_uri()}/x", limit=10) == b"1"
