"""The bytes of objects: many in files, few in rows of the cloud's SQLite file.

A new file costs more than all the rest of a small upload, so bytes that fit in a few pages of the
database become a row, in the transaction that makes them an object. A blob has a random name if it
is a file, and one with a colon if it is a row. It is never changed once an object has it. It counts
only when a committed row names it, so that a crash leaves the old object or the new one; blobs that
no row names are deleted at the next start. Checksums are computed while the bytes pass.
"""

import hashlib
import io
import os
import secrets
from binascii import b2a_base64
from collections.abc import AsyncIterator, Callable, Container, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from devenv.gcp.storage.model import ObjectContent
from devenv.gcp.store import Store

try:  # OpenSSL's begins slowly: four fifths of the time for 1 KB
    from _md5 import md5 as _short_md5  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    _short_md5 = partial(hashlib.md5, usedforsecurity=False)

CHUNK = 256 * 1024
_LARGEST_ROW = 16 * 1024
_MOST_RECENT = 4 * 1024 * 1024  # bytes of rows that are kept in memory, with
_ROW_COST = 128  # for each
_ROW = "row:"
_SCHEMA = "CREATE TABLE IF NOT EXISTS storage_bytes (id INTEGER PRIMARY KEY, data BLOB)"


def _b64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()


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
        """Return the content of `blob`, whose bytes have all passed."""
        return ObjectContent(blob, self.size, _b64(self._crc32c.to_bytes(4)), _b64(self.md5))


@dataclass(slots=True)  # not frozen, because one is made for each upload
class ReceivedBytes:
    """Bytes that have arrived: in a file, or in `data`, without a blob yet."""

    content: ObjectContent
    data: bytes = b""


class Blobs:
    """The bytes of all objects and unfinished uploads: the files of a folder, and rows."""

    def __init__(self, folder: Path, store: Store) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._path = str(folder)
        self._run, self._write = store.execute, store.write
        self._run(_SCHEMA)
        # SQLite itself gives the greatest id again once its row is deleted: a reader that still has the
        # name of the deleted blob would get the bytes of another object, and a second deletion delete them.
        newest = self._run("SELECT COALESCE(MAX(id), 0) FROM storage_bytes").fetchone()[0]
        self._ids = count(newest + 1)
        # Programs read back what they have just written.
        self._recent: dict[int, bytes] = {}
        self._recent_size = 0

    async def receive(self, body: AsyncIterator[bytes], check: Callable[[], None]) -> ReceivedBytes:
        """Take the bytes of `body` in; what is too large for a row goes to a file as it arrives.

        `check` may refuse to have a file written.
        """
        digest, few = Digest(), b""
        async for data in body:
            digest.update(data)
            few += data
            if digest.size > _LARGEST_ROW:
                check()
                return await self._receive_file(few, body, digest)
        return ReceivedBytes(digest.content(""), few)

    def is_row(self, data: bytes) -> bool:
        """Return whether bytes are so few that they become a row."""
        return len(data) <= _LARGEST_ROW

    def take(self, data: bytes) -> ReceivedBytes:
        """Take bytes in that are all here."""
        if self.is_row(data):
            sums = _b64(google_crc32c.value(data).to_bytes(4)), _b64(_short_md5(data).digest())
            return ReceivedBytes(ObjectContent("", len(data), *sums), data)
        digest = Digest()
        digest.update(data)
        blob = self.new()
        with self.append(blob) as file:
            file.write(data)
        return ReceivedBytes(digest.content(blob))

    async def _receive_file(
        self, data: bytes, rest: AsyncIterator[bytes], digest: Digest
    ) -> ReceivedBytes:
        blob = self.new()
        try:
            with self.append(blob) as file:
                file.write(data)
                async for more in rest:
                    file.write(more)
                    digest.update(more)
        except BaseException:
            self.delete(blob)
            raise
        return ReceivedBytes(digest.content(blob))

    def keep(self, received: ReceivedBytes) -> ObjectContent:
        """Return the content of a blob with these bytes; call it in the transaction that names it."""
        content = received.content
        if content.blob:
            return content
        return ObjectContent(self._insert(received.data), content.size, content.crc32c, content.md5)

    def new(self) -> str:
        """Return the name of a file that is not there yet."""
        return secrets.token_hex(16)

    def append(self, blob: str) -> BinaryIO:
        """Open the file `blob` for writing at its end; it is made if it is new."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return os.fdopen(os.open(f"{self._path}/{blob}", flags, 0o600), "wb")

    def open(self, blob: str) -> BinaryIO:
        """Open `blob`; its bytes stay readable when it is deleted meanwhile."""
        if (data := self.row(blob)) is not None:
            return io.BytesIO(data)
        return open(f"{self._path}/{blob}", "rb", buffering=0)  # noqa: PTH123 - faster than a Path

    def row(self, blob: str) -> bytes | None:
        """Return the bytes of `blob` if it is a row, None for a file."""
        if not (number := _number(blob)):
            return None
        if (data := self._recent.get(number)) is None:
            found = self._run("SELECT data FROM storage_bytes WHERE id = ?", (number,)).fetchone()
            data = self._remember(number, found[0])
        return data

    def size(self, blob: str) -> int:
        """Return how many bytes a file has, 0 if it was never written."""
        path = self._folder / blob
        return path.stat().st_size if path.exists() else 0

    def truncate(self, blob: str, size: int) -> None:
        os.truncate(self._folder / blob, size)

    def duplicate(self, blob: str) -> str:
        """Return another name for the same bytes, which live until both are deleted."""
        if _number(blob):
            with self.open(blob) as source:
                return self._insert(source.read())
        twin = self.new()
        os.link(self._folder / blob, self._folder / twin)
        return twin

    def digest(self, blob: str) -> Digest:
        """Read a file through. Slow for large ones: call it in a thread."""
        digest = Digest()
        if self.size(blob):
            with self.open(blob) as file:
                while data := file.read(CHUNK):
                    digest.update(data)
        return digest

    def join(self, files: Iterable[BinaryIO], *, components: int = 0) -> ObjectContent:
        """Write the bytes of `files` one after another, and close them. Slow: call it in a thread.

        The result has no MD5, like everything that Google puts together from parts.
        """
        joined, digest = self.new(), Digest()
        with self.append(joined) as target:
            for source in files:
                with source:
                    while data := source.read(CHUNK):
                        target.write(data)
                        digest.update(data)
        return replace(digest.content(joined), md5="", components=components)

    def delete(self, *blobs: str) -> None:
        """Delete blobs, of which any may be gone already."""
        self.delete_rows(blobs)
        self.delete_files(blobs)

    def delete_rows(self, blobs: Iterable[str]) -> None:
        """Delete those that are rows, which a transaction can take back."""
        for number in filter(None, map(_number, blobs)):
            self._write("DELETE FROM storage_bytes WHERE id = ?", (number,))
            self._forget(number)

    def delete_files(self, blobs: Iterable[str]) -> None:
        """Delete those that are files."""
        for blob in blobs:
            if not _number(blob):
                (self._folder / blob).unlink(missing_ok=True)

    def sweep(self, keep: Container[str]) -> None:
        """Delete every blob that is not in `keep`."""
        rows = self._run("SELECT id FROM storage_bytes").fetchall()
        names = [f"{_ROW}{number}" for (number,) in rows]
        names += [path.name for path in self._folder.iterdir()]
        self.delete(*(name for name in names if name not in keep))

    def _insert(self, data: bytes) -> str:
        number = next(self._ids)
        self._write("INSERT INTO storage_bytes (id, data) VALUES (?, ?)", (number, data))
        self._remember(number, data)
        return f"{_ROW}{number}"

    def _remember(self, number: int, data: bytes) -> bytes:
        self._recent[number] = data
        self._recent_size += len(data) + _ROW_COST
        while self._recent_size > _MOST_RECENT:
            self._forget(next(iter(self._recent)))
        return data

    def _forget(self, number: int) -> None:
        if (data := self._recent.pop(number, None)) is not None:
            self._recent_size -= len(data) + _ROW_COST


def _number(blob: str) -> int:
    """Return the id of the row that a blob is, 0 for a file."""
    return int(blob.removeprefix(_ROW)) if blob.startswith(_ROW) else 0
