"""The interface of a storage, its errors, and the checked copy that every read goes through.

StorageError
├── ObjectMissing      nothing there, or not at that version
├── ObjectExists       created before; nothing was overwritten
└── ObjectMismatch     size or SHA-256 differ from what was promised
"""

import hashlib
from abc import ABC, abstractmethod
from io import BytesIO
from pathlib import Path
from typing import BinaryIO


class StorageError(Exception):
    """Reading or writing an object failed."""


class ObjectMissing(StorageError):
    pass


class ObjectExists(StorageError):
    pass


class ObjectMismatch(StorageError):
    pass


class Sink:
    """A file to write to that counts, hashes, and stops at its limit."""

    def __init__(self, target: BinaryIO, *, uri: str, limit: int) -> None:
        self._target = target
        self._uri = uri
        self._limit = limit
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, chunk: bytes) -> int:
        self.size += len(chunk)
        if self.size > self._limit:
            raise ObjectMismatch(f"{self._uri} is larger than the {self._limit} bytes allowed")
        self._digest.update(chunk)
        return self._target.write(chunk)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


class Storage(ABC):
    @abstractmethod
    def copy_to(self, sink: Sink, *, uri: str, version: str | None) -> None:
        """Stream the object, at exactly `version` when one is given."""

    @abstractmethod
    def create(self, uri: str, content: Path | bytes, *, mime_type: str) -> str:
        """Store a new object, never over an existing one, and return its version."""

    def read(self, uri: str, *, limit: int) -> bytes:
        buffer = BytesIO()
        self.copy_to(Sink(buffer, uri=uri, limit=limit), uri=uri, version=None)
        return buffer.getvalue()

    def fetch(self, uri: str, target: Path, *, size: int, sha256: str, version: str) -> None:
        """Copy one pinned object to `target`, refusing every byte that was not promised."""
        with target.open("xb") as file:
            sink = Sink(file, uri=uri, limit=size)
            self.copy_to(sink, uri=uri, version=version)
        if sink.size != size:
            raise ObjectMismatch(f"{uri} has {sink.size} bytes; {size} were promised")
        if sink.sha256 != sha256:
            raise ObjectMismatch(f"{uri} has SHA-256 {sink.sha256}; {sha256} was promised")


def sha256_of(content: Path | bytes) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
