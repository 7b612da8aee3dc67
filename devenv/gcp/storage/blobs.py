"""The bytes of objects and uploads: one file each, with a random name.

A file is never changed once an object has it. It counts only when a committed row of the catalogue
names it, so that a crash leaves the old object or the new one; files that no row names are deleted
at the next start. Checksums are computed while the bytes pass on their way to disk.
"""

import base64
import hashlib
import os
import secrets
from collections.abc import Container, Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from devenv.gcp.storage.model import ObjectContent

CHUNK = 256 * 1024


class Digest:
    """The checksums of bytes as they pass by."""

    def __init__(self) -> None:
        self.size = 0
        self._crc32c = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    def update(self, data: bytes) -> None:
        self.size += len(data)
        self._crc32c = google_crc32c.extend(self._crc32c, data)
        self._md5.update(data)

    @property
    def md5(self) -> bytes:
        return self._md5.digest()

    def content(self, blob: str) -> ObjectContent:
        """Return the content of the file `blob`, whose bytes have all passed."""
        crc32c = base64.b64encode(self._crc32c.to_bytes(4)).decode()
        return ObjectContent(blob, self.size, crc32c, base64.b64encode(self.md5).decode())


class Blobs:
    """The folder with the bytes of all objects and unfinished uploads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder

    def new(self) -> str:
        """Return the name of a file that is not there yet."""
        return secrets.token_hex(16)

    def append(self, blob: str) -> BinaryIO:
        """Open `blob` for writing at its end; it is made if it is new."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return os.fdopen(os.open(self._folder / blob, flags, 0o600), "wb")

    def open(self, blob: str) -> BinaryIO:
        return (self._folder / blob).open("rb", buffering=0)

    def size(self, blob: str) -> int:
        """Return how many bytes are there, 0 for a file that was never written."""
        path = self._folder / blob
        return path.stat().st_size if path.exists() else 0

    def truncate(self, blob: str, size: int) -> None:
        os.truncate(self._folder / blob, size)

    def duplicate(self, blob: str) -> str:
        """Return another name for the same bytes, which live until both are deleted."""
        twin = self.new()
        os.link(self._folder / blob, self._folder / twin)
        return twin

    def digest(self, blob: str) -> Digest:
        """Read `blob` through. Slow for large files: call it in a thread."""
        digest = Digest()
        if self.size(blob):
            with self.open(blob) as file:
                while data := file.read(CHUNK):
                    digest.update(data)
        return digest

    def join(self, blobs: Iterable[str], *, components: int = 0) -> ObjectContent:
        """Write the bytes of `blobs` one after another. Slow: call it in a thread.

        The result has no MD5, like everything that Google puts together from parts.
        """
        joined, digest = self.new(), Digest()
        with self.append(joined) as target:
            for blob in blobs:
                with self.open(blob) as source:
                    while data := source.read(CHUNK):
                        target.write(data)
                        digest.update(data)
        return replace(digest.content(joined), md5="", components=components)

    def delete(self, blob: str) -> None:
        (self._folder / blob).unlink(missing_ok=True)

    def sweep(self, keep: Container[str]) -> None:
        """Delete every file that is not in `keep`."""
        for path in self._folder.iterdir():
            if path.name not in keep:
                path.unlink()
