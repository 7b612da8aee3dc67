"""Files at `gs://` and `file://` behind one interface, shared by the product and the validators.

Every write is create-only: an object that exists is never written over. Every object has a version,
its generation at `gs://` and `sha256:<hex>` at `file://`, so a reader can insist on the very bytes
that somebody else described. All methods take whole URIs (`gs://bucket/x`, `file:///folder/x`).

    StorageError
    ├── ObjectNotFound    no object at this URI, or not in this version
    ├── ObjectExists      create-only write, and an object is there
    ├── ObjectTooLarge    more bytes than the reader allows
    └── ObjectMismatch    size or SHA-256 differ from what was promised
"""

import datetime as dt
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

# By name, so that a deployment without Google Cloud never imports its client.
_IMPLEMENTATIONS = {"gs": "validators.sdk.storage.gs", "file": "validators.sdk.storage.file"}


class StorageError(Exception):
    """Base class; raised itself when storage cannot be used now."""


class ObjectNotFound(StorageError):
    """No object at this URI, or not in this version."""


class ObjectExists(StorageError):
    """A create-only write found an object in its place."""


class ObjectTooLarge(StorageError):
    """The object has more bytes than the reader allows."""


class ObjectMismatch(StorageError):
    """The object is not the one that was promised."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Object in storage. `sha256` is empty in listings of `gs://`, where only reading would tell."""

    uri: str
    version: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BucketAccess:
    """Google credentials of others, for the objects below `prefix` only."""

    credentials: Any
    project: str
    prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageOptions:
    """Settings of the implementations.

    `access` replaces the account that the process runs as. `retry_seconds` bounds how long a call
    to Cloud Storage is repeated. `untrusted` is a folder in which other programs write: below it no
    symbolic link is followed.
    """

    access: BucketAccess | None = None
    retry_seconds: float = 120.0
    untrusted: Path | None = None


class Storage(ABC):
    """Objects below one URI scheme."""

    @abstractmethod
    def create(self, uri: str, content: bytes | BinaryIO, *, mime_type: str) -> StoredObject:
        """Write a new object, streaming. Raises ObjectExists and leaves what was there."""

    @abstractmethod
    def create_streamed(self, uri: str, chunks: Iterable[bytes], *, mime_type: str) -> StoredObject:
        """Write a new object of unknown size, as `create`; an error of `chunks` leaves no object."""

    @abstractmethod
    def stream(self, uri: str, *, version: str = "") -> Iterator[bytes]:
        """Yield the bytes of an object in chunks. Raises ObjectNotFound."""

    @abstractmethod
    def current(self, uri: str) -> str | None:
        """Return the version of the object that is there now, or None."""

    @abstractmethod
    def list_below(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below the folder URI `prefix`."""

    @abstractmethod
    def list_written_before(self, prefix: str, moment: dt.datetime) -> Iterator[str]:
        """Yield the URIs of the objects below the folder URI `prefix` that were written earlier."""

    @abstractmethod
    def copy(self, source: str, target: str, *, version: str) -> str:
        """Copy within the scheme, create-only; return the target's version."""

    @abstractmethod
    def delete(self, uri: str) -> bool:
        """Delete one object; return whether there was one."""

    @abstractmethod
    def delete_below(self, prefix: str) -> int:
        """Delete every object below the folder URI `prefix`; return how many."""

    def read(self, uri: str, *, version: str = "", limit: int) -> bytes:
        """Return a whole object of at most `limit` bytes. Raises ObjectTooLarge beyond."""
        content = bytearray()
        for chunk in self.stream(uri, version=version):
            content += chunk
            if len(content) > limit:
                raise ObjectTooLarge(f"{uri} has more than {limit} bytes.")
        return bytes(content)

    def download(self, uri: str, target: BinaryIO, *, version: str) -> None:
        """Write one version of an object to a file object."""
        write = target.write
        for chunk in self.stream(uri, version=version):
            write(chunk)

    def fetch(self, uri: str, target: Path, *, size: int, sha256: str, version: str) -> None:
        """Copy one version of an object to the new file `target`, checking size and digest.

        Raises ObjectMismatch, and then writes no more bytes than were promised.
        """
        with target.open("xb") as file:
            sink = _CheckedFile(file, uri=uri, limit=size)
            self.download(uri, sink, version=version)  # type: ignore[arg-type] # only write() is used
        if sink.size != size:
            raise ObjectMismatch(f"{uri} has {sink.size} bytes; {size} were promised.")
        if sink.sha256 != sha256:
            raise ObjectMismatch(f"{uri} has SHA-256 {sink.sha256}; {sha256} was promised.")


class _CheckedFile:
    """File to write to that counts and hashes the bytes, and refuses more than `limit`."""

    def __init__(self, target: BinaryIO, *, uri: str, limit: int) -> None:
        self._target = target
        self._uri = uri
        self._limit = limit
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes) -> int:
        self.size += len(chunk)
        if self.size > self._limit:
            raise ObjectMismatch(f"{self._uri} has more than the {self._limit} bytes promised.")
        self._digest.update(chunk)
        return self._target.write(chunk)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def open_storage(uri: str, options: StorageOptions | None = None) -> Storage:
    """Return the storage that holds `uri`, one object per process, scheme and options.

    Raises StorageError for an unknown scheme.
    """
    return _open(urlsplit(uri).scheme, options or StorageOptions())


@cache
def _open(scheme: str, options: StorageOptions) -> Storage:
    if scheme not in _IMPLEMENTATIONS:
        raise StorageError(f"Files are at file:// or gs://, not at {scheme!r}://.")
    storage: Storage = import_module(_IMPLEMENTATIONS[scheme]).open_storage(options)
    return storage
