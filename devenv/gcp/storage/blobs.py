"""Bytes on disk, one file per upload, named at random and never changed once an object has them.

A file counts only when a committed row names it, so a crash leaves the old object or the new one;
files that no row names are removed at the next start.
"""

import base64
import hashlib
import os
import secrets
from collections.abc import Container
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from devenv.gcp.storage.model import Content

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

    def content(self, blob: str, *, components: int = 0) -> Content:
        """Return what has passed as the content of the file `blob`."""
        crc32c = base64.b64encode(self._crc32c.to_bytes(4)).decode()
        md5 = "" if components else base64.b64encode(self._md5.digest()).decode()
        return Content(blob, self.size, crc32c, md5, components)


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

    def join(self, blobs: list[str], *, components: int) -> Content:
        """Write the bytes of `blobs` one after another. Slow: call it in a thread."""
        joined, digest = self.new(), Digest()
        with self.append(joined) as target:
            for blob in blobs:
                with self.open(blob) as source:
                    while data := source.read(CHUNK):
                        target.write(data)
                        digest.update(data)
        return digest.content(joined, components=components)

    def delete(self, blob: str) -> None:
        (self._folder / blob).unlink(missing_ok=True)

    def sweep(self, keep: Container[str]) -> None:
        """Delete every file that is not in `keep`."""
        for path in self._folder.iterdir():
            if path.name not in keep:
                path.unlink()
