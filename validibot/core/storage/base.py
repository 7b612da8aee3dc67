"""The one interface to files, whatever the scheme of their URI.

StorageError
├── ObjectNotFound    no object at this URI, or not in this version
├── ObjectExists      create-only write, and something is there
└── ObjectTooLarge    more bytes than the reader allows
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO


class StorageError(Exception):
    """Do not raise directly."""


class ObjectNotFound(StorageError):
    """No object at this URI, or not in this version."""


class ObjectExists(StorageError):
    """A create-only write found an object in its place."""


class ObjectTooLarge(StorageError):
    """The object has more bytes than the reader allows."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it is. `version` is the generation (gs://) or `sha256:<hex>` (file://).

    `sha256` is empty where only reading all of it would tell: in listings of gs://.
    """

    uri: str
    version: str
    size_bytes: int
    sha256: str


class Storage(ABC):
    """Files below one URI scheme. Every method takes whole URIs (`gs://b/x`, `file:///d/x`)."""

    @abstractmethod
    def create(self, uri: str, content: bytes | BinaryIO, *, mime_type: str) -> StoredObject:
        """Write a new object, streaming. Raises ObjectExists, and then leaves what was there."""

    @abstractmethod
    def stream(self, uri: str, *, version: str = "") -> Iterator[bytes]:
        """Yield the bytes of an object in chunks. Raises ObjectNotFound."""

    @abstractmethod
    def current(self, uri: str) -> str | None:
        """Return the version of the object that is there now, or None."""

    @abstractmethod
    def list_below(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below the folder URI `prefix`, in one request where there is one."""

    @abstractmethod
    def copy(self, source: str, target: str, *, version: str) -> str:
        """Copy within the scheme, create-only; return the target's version."""

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
