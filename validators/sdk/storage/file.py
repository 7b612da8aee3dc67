"""Objects as files of this machine, at absolute `file://` URIs.

The version of a file is `sha256:` and the digest of its bytes, so reading a version means reading
the file and comparing. Files are never written twice: a hard link appears whole or not at all, and
replaces nothing. Below the folder `untrusted`, where containers of validators write, no symbolic link
is followed: it could lead to files of other tenants.
"""

import datetime as dt
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import IO, BinaryIO
from urllib.parse import quote, unquote, urlsplit

from validators.sdk.storage import (
    ObjectExists,
    ObjectNotFound,
    Storage,
    StorageError,
    StorageOptions,
    StoredObject,
)

_CHUNK_BYTES = 256 * 1024
# Errors of opening a socket, or a file without read permission: trying again does not help.
_NEVER_READABLE = (errno.ENXIO, errno.EACCES)


def open_storage(options: StorageOptions) -> Storage:
    """Return the implementation for `file://`."""
    return FileStorage(untrusted=options.untrusted)


class FileStorage(Storage):
    """Storage for `file://`. A version is compared after the last byte, and raises then."""

    def __init__(self, *, untrusted: Path | None = None) -> None:
        self._untrusted = untrusted

    def create(self, uri: str, content: bytes | BinaryIO, *, mime_type: str) -> StoredObject:
        source = BytesIO(content) if isinstance(content, bytes) else content
        chunks = iter(partial(source.read, _CHUNK_BYTES), b"")
        return self.create_streamed(uri, chunks, mime_type=mime_type)

    def create_streamed(self, uri: str, chunks: Iterable[bytes], *, mime_type: str) -> StoredObject:
        digest = hashlib.sha256()
        size = 0
        with _translated(uri), _new_file(path_of(uri)) as file:
            for chunk in chunks:
                digest.update(chunk)
                size += file.write(chunk)
        return StoredObject(uri, f"sha256:{digest.hexdigest()}", size, digest.hexdigest())

    def stream(self, uri: str, *, version: str = "") -> Iterator[bytes]:
        path = path_of(uri)
        digest = hashlib.sha256()
        with _translated(uri), self._open(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                yield chunk
        if version and version != f"sha256:{digest.hexdigest()}":
            raise ObjectNotFound(f"{uri} does not exist in version {version}.")

    def current(self, uri: str) -> str | None:
        try:
            with _translated(uri), self._open(path_of(uri)) as file:
                return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        except ObjectNotFound:
            return None

    def list_below(self, prefix: str) -> Iterator[StoredObject]:
        folder = path_of(prefix)
        for path in sorted(path for path in folder.rglob("*") if _is_plain(path)):
            uri = f"{prefix.rstrip('/')}/{quote(str(path.relative_to(folder)))}"
            version = self.current(uri) or ""
            digest = version.removeprefix("sha256:")
            yield StoredObject(uri, version, path.stat().st_size, digest)

    def list_written_before(self, prefix: str, moment: dt.datetime) -> Iterator[str]:
        folder = path_of(prefix)
        for path in sorted(path for path in folder.rglob("*") if _is_plain(path)):
            with suppress(FileNotFoundError):  # removed by somebody else meanwhile
                if path.lstat().st_mtime < moment.timestamp():
                    yield f"{prefix.rstrip('/')}/{quote(str(path.relative_to(folder)))}"

    def copy(self, source: str, target: str, *, version: str) -> str:
        with _translated(target), _new_file(path_of(target)) as file:
            file.writelines(self.stream(source, version=version))
        return version

    def delete(self, uri: str) -> bool:
        try:
            with _translated(uri):
                path_of(uri).unlink()
        except ObjectNotFound:
            return False
        return True

    def delete_below(self, prefix: str) -> int:
        folder = path_of(prefix)
        if not folder.is_dir():
            return 0
        with _translated(prefix):
            count = sum(path.is_file() for path in folder.rglob("*"))
            shutil.rmtree(folder, onexc=_raise_unless_gone)
        return count

    def _open(self, path: Path) -> BufferedReader:
        """Open a file for reading, name by name below the untrusted folder."""
        root = self._untrusted
        if root is None or not path.is_relative_to(root):
            return path.open("rb")
        here = os.open(root, os.O_RDONLY)
        for name in path.relative_to(root).parts:
            try:
                # O_NONBLOCK: opening a named pipe would wait for its writer.
                inside = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
            except OSError as error:
                if error.errno in _NEVER_READABLE:
                    raise FileNotFoundError(path) from error
                raise
            finally:
                os.close(here)
            here = inside
        if not stat.S_ISREG(os.fstat(here).st_mode):
            os.close(here)
            raise FileNotFoundError(path)
        return os.fdopen(here, "rb")


def path_of(uri: str) -> Path:
    """Return the path that a file URI names. Raises StorageError for anything but `file:///…`."""
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    wrong = parts.scheme != "file" or parts.netloc or parts.query or parts.fragment
    if wrong or not path.is_absolute() or ".." in path.parts or "\0" in str(path):
        raise StorageError(f"{uri[:200]!r} is not file:/// and an absolute path.")
    return path


def _raise_unless_gone(_: object, path: str, error: BaseException) -> None:
    """Let a deletion go on past what somebody else has deleted, such as the file of an ended write."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


@contextmanager
def _new_file(target: Path) -> Iterator[IO[bytes]]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".new-") as file:
        yield file.file
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        target.hardlink_to(file.name)


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise ObjectExists(f"{uri} exists already.") from error
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ObjectNotFound(f"There is no object at {uri}.") from error
    except OSError as error:
        if error.errno == errno.ELOOP:  # O_NOFOLLOW met a symbolic link
            raise ObjectNotFound(f"{uri} is a symbolic link, not an object.") from error
        raise StorageError(f"{uri}: {error.strerror}.") from error
