"""Objects as files of this machine; a version is `sha256:` and the digest of the bytes."""

import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from validators.sdk.capability import Capability
from validators.sdk.storage.base import (
    ObjectExists,
    ObjectMismatch,
    ObjectMissing,
    Sink,
    Storage,
    StorageError,
    sha256_of,
)

_CHUNK = 1 << 20


def open_storage(capability: Capability | None) -> Storage:
    return FileStorage()


class FileStorage(Storage):
    def copy_to(self, sink: Sink, *, uri: str, version: str | None) -> None:
        try:
            with _path(uri).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    sink.write(chunk)
        except FileNotFoundError as error:
            raise ObjectMissing(f"{uri} does not exist") from error
        except OSError as error:
            raise StorageError(f"{uri} cannot be read: {error.strerror}") from error
        if version is not None and version != f"sha256:{sink.sha256}":
            raise ObjectMismatch(f"{uri} is not at version {version}")

    def create(self, uri: str, content: Path | bytes, *, mime_type: str) -> str:
        target = _path(uri)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _link_new(target, content)
        except FileExistsError as error:
            raise ObjectExists(f"{uri} exists already") from error
        except OSError as error:
            raise StorageError(f"{uri} cannot be written: {error.strerror}") from error
        return f"sha256:{sha256_of(content)}"


def _link_new(target: Path, content: Path | bytes) -> None:
    """A hard link appears whole or not at all, and never replaces a file."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".new-") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            with content.open("rb") as source:
                shutil.copyfileobj(source, file)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        target.hardlink_to(file.name)


def _path(uri: str) -> Path:
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc or not path.is_absolute() or ".." in path.parts:
        raise StorageError(f"{uri!r} is not file:/// and an absolute path")
    return path
