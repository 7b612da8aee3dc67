"""State of Cloud Storage: tables of buckets, objects and uploads, and the files with their bytes.

Rows go in and come out as values of `model.py`; no rule of Cloud Storage is here. Every statement
commits by itself unless a transaction is open. Generations come from a counter in the database, so
that they grow even if the clock goes back.

A file with bytes has a random name and is never changed once an object has it. It counts only when
a committed row names it, so that a crash leaves the old object or the new one; files that no row
names are deleted at the next start. Checksums are computed while the bytes pass on their way to disk.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Container, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c

from devenv.gcp.storage.model import BucketRecord, ObjectContent, ObjectRecord
from devenv.gcp.store import Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS storage_buckets (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS storage_objects (
    bucket TEXT, name TEXT, generation INTEGER, live INTEGER, blob TEXT, value TEXT,
    PRIMARY KEY (bucket, name, generation)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS storage_soft_deleted (
    bucket TEXT, name TEXT, generation INTEGER, ends REAL, blob TEXT, value TEXT,
    PRIMARY KEY (bucket, name, generation)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS storage_sessions (
    id TEXT PRIMARY KEY, created REAL, value TEXT, result TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS storage_parts (
    upload TEXT, number INTEGER, blob TEXT, created REAL, value TEXT, PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS storage_generation (id INTEGER PRIMARY KEY, last INTEGER);
INSERT OR IGNORE INTO storage_generation VALUES (1, 0);
"""
# Programs list the same objects again and again; a record is never changed, so all may have it.
_object_of = lru_cache(maxsize=2048)(ObjectRecord.load)
_LAST = "\U0010ffff"
MULTIPART_PREFIX = (
    "multipart-"  # of the ids of multipart uploads, which share a table with sessions
)


@dataclass(frozen=True, slots=True)
class UploadPart:
    """A part of a multipart upload of the XML API."""

    upload: str
    number: int
    content: ObjectContent
    created: float

    @property
    def etag(self) -> str:
        """The MD5 in hexadecimal, as clients of the XML API expect it."""
        return base64.b64decode(self.content.md5).hex()


class Catalogue:
    """The tables, inside the store of the emulated cloud."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._run = store.connection.execute
        store.connection.executescript(_SCHEMA)
        # Names of buckets with access control lists: their decisions take a look-up more.
        self._with_lists = {
            each.name for each in self.buckets(start="", prefix="", limit=-1) if not each.uniform
        }

    def transaction(self) -> AbstractContextManager[None]:
        return self._store.transaction()

    def bucket(self, name: str) -> BucketRecord | None:
        row = self._one("SELECT value FROM storage_buckets WHERE name = ?", name)
        return BucketRecord.load(row[0]) if row else None

    def has_bucket(self, name: str) -> bool:
        return self._one("SELECT 1 FROM storage_buckets WHERE name = ?", name) is not None

    def may_have_lists(self, name: str) -> bool:
        """Return whether a bucket has had uniform access off since the start."""
        return name in self._with_lists

    def buckets(self, *, start: str, prefix: str, limit: int) -> list[BucketRecord]:
        rows = self._run(
            "SELECT value FROM storage_buckets WHERE name >= ? AND name < ? ORDER BY name LIMIT ?",
            (max(start, prefix), prefix + _LAST, limit),
        )
        return [BucketRecord.load(value) for (value,) in rows]

    def save_bucket(self, bucket: BucketRecord) -> None:
        if not bucket.uniform:
            self._with_lists.add(bucket.name)
        self._run(
            "INSERT OR REPLACE INTO storage_buckets VALUES (?, ?)", (bucket.name, bucket.dump())
        )

    def drop_bucket(self, name: str) -> None:
        self._run("DELETE FROM storage_buckets WHERE name = ?", (name,))

    def empty(self, bucket: str) -> bool:
        return self._one("SELECT 1 FROM storage_objects WHERE bucket = ? LIMIT 1", bucket) is None

    def live(self, bucket: str, name: str) -> ObjectRecord | None:
        row = self._one(
            "SELECT value FROM storage_objects WHERE bucket = ? AND name = ? AND live = 1",
            bucket,
            name,
        )
        return _object_of(row[0]) if row else None

    def object(self, bucket: str, name: str, generation: int) -> ObjectRecord | None:
        row = self._one(
            "SELECT value FROM storage_objects WHERE bucket = ? AND name = ? AND generation = ?",
            bucket,
            name,
            generation,
        )
        return _object_of(row[0]) if row else None

    def item(self, bucket: str, name: str, generation: int | None) -> ObjectRecord | None:
        """Return a generation of an object, or without one the live object."""
        if generation is None:
            return self.live(bucket, name)
        return self.object(bucket, name, generation)

    def scan(self, bucket: str, *, start: str, end: str, versions: bool) -> Iterator[ObjectRecord]:
        """Yield the objects with `start` <= name < `end`, ordered by the bytes of their names."""
        rows = self._run(
            "SELECT value FROM storage_objects WHERE bucket = ? AND name >= ? AND name < ?"
            " AND live >= ? ORDER BY name, generation",
            (bucket, start, end or _LAST, 0 if versions else 1),
        )
        for (value,) in rows:
            yield _object_of(value)

    def save(self, item: ObjectRecord) -> None:
        """Write `item`; it is the live object of its name unless it is deleted."""
        live = 0 if item.deleted else 1
        self._run(
            "INSERT OR REPLACE INTO storage_objects VALUES (?, ?, ?, ?, ?, ?)",
            (item.bucket, item.name, item.generation, live, item.content.blob, item.dump()),
        )

    def drop(self, item: ObjectRecord) -> None:
        self._run(
            "DELETE FROM storage_objects WHERE bucket = ? AND name = ? AND generation = ?",
            (item.bucket, item.name, item.generation),
        )

    def save_soft_deleted(self, item: ObjectRecord) -> None:
        self._run(
            "INSERT OR REPLACE INTO storage_soft_deleted VALUES (?, ?, ?, ?, ?, ?)",
            (
                *(item.bucket, item.name, item.generation, item.hard_deleted),
                *(item.content.blob, item.dump()),
            ),
        )

    def soft_deleted(
        self, bucket: str, *, start: str, end: str, now: float
    ) -> Iterator[ObjectRecord]:
        """Yield the soft-deleted objects with `start` <= name < `end` that have not ended yet."""
        rows = self._run(
            "SELECT value FROM storage_soft_deleted WHERE bucket = ? AND name >= ? AND name < ?"
            " AND ends > ? ORDER BY name, generation",
            (bucket, start, end or _LAST, now),
        )
        for (value,) in rows:
            yield _object_of(value)

    def drop_soft_deleted(self, *, bucket: str = "", before: float = 0.0) -> list[str]:
        """Forget those of a bucket, or those that ended until a moment; return their files."""
        rows = self._run(
            "DELETE FROM storage_soft_deleted WHERE bucket = ? OR ends <= ? RETURNING blob",
            (bucket, before),
        )
        return [blob for (blob,) in rows.fetchall()]

    def next_generation(self, at_least: int) -> int:
        """Return a number greater than all that were returned before."""
        row = self._one(
            "UPDATE storage_generation SET last = max(last + 1, ?) RETURNING last", at_least
        )
        assert row
        return int(row[0])

    def save_session(self, session_id: str, created: float, value: str) -> None:
        self._run(
            "INSERT OR REPLACE INTO storage_sessions VALUES (?, ?, ?, NULL)",
            (session_id, created, value),
        )

    def session(self, session_id: str) -> tuple[str, ObjectRecord | None] | None:
        """Return a session's value and, once it is finished, its object."""
        row = self._one("SELECT value, result FROM storage_sessions WHERE id = ?", session_id)
        return (row[0], _object_of(row[1]) if row[1] else None) if row else None

    def finish_session(self, session_id: str, result: ObjectRecord) -> None:
        self._run(
            "UPDATE storage_sessions SET result = ? WHERE id = ?", (result.dump(), session_id)
        )

    def drop_session(self, session_id: str) -> None:
        self._run("DELETE FROM storage_sessions WHERE id = ?", (session_id,))

    def save_part(self, part: UploadPart) -> UploadPart | None:
        """Write a part and return the one that it replaces."""
        before = [found for found in self.parts(part.upload) if found.number == part.number]
        content = json.dumps(asdict(part.content))
        self._run(
            "INSERT OR REPLACE INTO storage_parts VALUES (?, ?, ?, ?, ?)",
            (part.upload, part.number, part.content.blob, part.created, content),
        )
        return before[0] if before else None

    def parts(self, upload: str) -> list[UploadPart]:
        """Return the parts of an upload in order."""
        rows = self._run(
            "SELECT number, created, value FROM storage_parts WHERE upload = ? ORDER BY number",
            (upload,),
        )
        return [
            UploadPart(upload, number, ObjectContent(**json.loads(value)), created)
            for number, created, value in rows
        ]

    def drop_parts(self, upload: str) -> list[UploadPart]:
        """Delete the parts of an upload and return them."""
        parts = self.parts(upload)
        self._run("DELETE FROM storage_parts WHERE upload = ?", (upload,))
        return parts

    def multipart_uploads(self) -> list[tuple[str, float, str]]:
        """Return id, moment of creation and value of each unfinished upload in parts."""
        return self._run(
            "SELECT id, created, value FROM storage_sessions WHERE id >= ? AND id < ?"
            " AND result IS NULL",
            (MULTIPART_PREFIX, MULTIPART_PREFIX + _LAST),
        ).fetchall()

    def drop_sessions(self, *, before: float) -> None:
        self._run("DELETE FROM storage_sessions WHERE created < ?", (before,))
        self._run("DELETE FROM storage_parts WHERE upload NOT IN (SELECT id FROM storage_sessions)")

    def blobs(self) -> set[str]:
        """Return the names of all files that a row names."""
        rows = self._run(
            "SELECT blob FROM storage_objects"
            " UNION SELECT blob FROM storage_soft_deleted"
            " UNION SELECT id FROM storage_sessions WHERE result IS NULL"
            " UNION SELECT blob FROM storage_parts"
        )
        return {blob for (blob,) in rows}

    def _one(self, sql: str, *values: Any) -> Any:
        return self._run(sql, values).fetchone()


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
        self._path = str(folder)

    def new(self) -> str:
        """Return the name of a file that is not there yet."""
        return secrets.token_hex(16)

    def append(self, blob: str) -> BinaryIO:
        """Open `blob` for writing at its end; it is made if it is new."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return os.fdopen(os.open(f"{self._path}/{blob}", flags, 0o600), "wb")

    def open(self, blob: str) -> BinaryIO:
        return open(f"{self._path}/{blob}", "rb", buffering=0)  # noqa: PTH123 - faster than a Path

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
