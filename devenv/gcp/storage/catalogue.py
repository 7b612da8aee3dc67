"""State of Cloud Storage: tables of buckets, objects and uploads.

Rows go in and come out as values of `model.py`; no rule of Cloud Storage is here. Every statement
commits by itself unless a transaction is open. Generations come from a counter in the database, so
that they grow even if the clock goes back.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from devenv.gcp.storage.model import BucketRecord, ObjectContent, ObjectRecord
from devenv.gcp.store import Store, Transaction

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
_MOST_RECORDS = 4096  # kept in memory
_RESERVED = 1_000_000  # generations, which count like microseconds
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
        self._run, self._write = store.execute, store.write
        store.connection.executescript(_SCHEMA)
        # Names of buckets with access control lists: their decisions take a look-up more.
        self._with_lists: set[str] = set()
        self._buckets: dict[str, BucketRecord] = {}
        self._read_buckets()
        # Programs ask for the same objects again and again; a record is never changed.
        self._records: dict[str, ObjectRecord] = {}
        self._live: dict[tuple[str, str], ObjectRecord] = {}
        self._whole: set[str] = set()  # buckets whose live objects are all in `_live`
        # The database has a number that was not reached yet: a write of each would be the dearest
        # part of a small upload.
        (self._reserved,) = self._one("SELECT last FROM storage_generation")
        self._generation = int(self._reserved)

    def transaction(self) -> Transaction:
        """Commit everything inside, or nothing."""
        return self._store.transaction(self._read_again, is_logged=True)

    def _read_again(self) -> None:
        """Forget what was kept in memory of a transaction that was rolled back."""
        self._read_buckets()
        self._forget_live()
        self._reserved = 0

    def bucket(self, name: str) -> BucketRecord | None:
        return self._buckets.get(name)

    def _read_buckets(self) -> None:
        found = self._run("SELECT value FROM storage_buckets").fetchall()
        self._buckets = {each.name: each for each in (BucketRecord.load(v) for (v,) in found)}
        self._with_lists |= {each.name for each in self._buckets.values() if not each.uniform}

    def may_have_lists(self, name: str) -> bool:
        """Return whether a bucket has had uniform access off since the start."""
        return name in self._with_lists

    def buckets(self, *, start: str, prefix: str, limit: int) -> list[BucketRecord]:
        """Return the first buckets from the name `start` on; all with a negative `limit`."""
        names = sorted(name for name in self._buckets if name >= start and name.startswith(prefix))
        return [self._buckets[name] for name in (names[:limit] if limit >= 0 else names)]

    def save_bucket(self, bucket: BucketRecord) -> None:
        if not bucket.uniform:
            self._with_lists.add(bucket.name)
        if bucket.name not in self._buckets:
            self._whole.add(bucket.name)
        self._write(
            "INSERT OR REPLACE INTO storage_buckets VALUES (?, ?)", (bucket.name, bucket.dump())
        )
        self._buckets[bucket.name] = bucket

    def drop_bucket(self, name: str) -> None:
        self._write("DELETE FROM storage_buckets WHERE name = ?", (name,))
        self._buckets.pop(name, None)
        self._whole.discard(name)

    def empty(self, bucket: str) -> bool:
        return self._one("SELECT 1 FROM storage_objects WHERE bucket = ? LIMIT 1", bucket) is None

    def live(self, bucket: str, name: str) -> ObjectRecord | None:
        if found := self._live.get((bucket, name)):
            return found
        if bucket in self._whole:
            return None
        row = self._one(
            "SELECT value FROM storage_objects WHERE bucket = ? AND name = ? AND live = 1",
            bucket,
            name,
        )
        return self._keep_live(self._record(row[0])) if row else None

    def object(self, bucket: str, name: str, generation: int) -> ObjectRecord | None:
        row = self._one(
            "SELECT value FROM storage_objects WHERE bucket = ? AND name = ? AND generation = ?",
            bucket,
            name,
            generation,
        )
        return self._record(row[0]) if row else None

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
            yield self._record(value)

    def save(self, item: ObjectRecord) -> None:
        """Write `item`; it is the live object of its name unless it is deleted."""
        self._end_live(item)
        live, text = 0 if item.deleted else 1, item.dump()
        self._write(
            "INSERT OR REPLACE INTO storage_objects VALUES (?, ?, ?, ?, ?, ?)",
            (item.bucket, item.name, item.generation, live, item.content.blob, text),
        )
        if live:
            self._keep_live(self._remember(text, item))

    def drop(self, item: ObjectRecord) -> None:
        self._end_live(item)
        self._write(
            "DELETE FROM storage_objects WHERE bucket = ? AND name = ? AND generation = ?",
            (item.bucket, item.name, item.generation),
        )

    def save_soft_deleted(self, item: ObjectRecord) -> None:
        self._write(
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
            yield self._record(value)

    def drop_soft_deleted(self, *, bucket: str = "", before: float = 0.0) -> list[str]:
        """Forget those of a bucket, or those that ended until a moment; return their blobs."""
        rows = self._run(
            "DELETE FROM storage_soft_deleted WHERE bucket = ? OR ends <= ? RETURNING blob",
            (bucket, before),
        )
        return [blob for (blob,) in rows.fetchall()]

    def next_generation(self, at_least: int) -> int:
        """Return a number greater than all that were returned before."""
        self._generation = max(self._generation + 1, at_least)
        if self._generation >= self._reserved:
            self._reserved = self._generation + _RESERVED
            self._write("UPDATE storage_generation SET last = ?", (self._reserved,))
        return self._generation

    def save_session(self, session_id: str, created: float, value: str) -> None:
        self._write(
            "INSERT OR REPLACE INTO storage_sessions VALUES (?, ?, ?, NULL)",
            (session_id, created, value),
        )

    def change_session(self, session_id: str, value: str) -> None:
        """Keep another value of a session, which ends no later by it."""
        self._write("UPDATE storage_sessions SET value = ? WHERE id = ?", (value, session_id))

    def session(
        self, session_id: str, *, since: float = 0.0
    ) -> tuple[str, ObjectRecord | None] | None:
        """Return the value of a session begun since a moment and, once it is finished, its object."""
        sql = "SELECT value, result FROM storage_sessions WHERE id = ? AND created >= ?"
        row = self._one(sql, session_id, since)
        return (row[0], self._record(row[1]) if row[1] else None) if row else None

    def finish_session(self, session_id: str, result: ObjectRecord) -> None:
        self._write(
            "UPDATE storage_sessions SET result = ? WHERE id = ?", (result.dump(), session_id)
        )

    def drop_session(self, session_id: str) -> None:
        self._write("DELETE FROM storage_sessions WHERE id = ?", (session_id,))

    def save_part(self, part: UploadPart) -> UploadPart | None:
        """Write a part and return the one that it replaces."""
        before = [found for found in self.parts(part.upload) if found.number == part.number]
        content = json.dumps(asdict(part.content))
        self._write(
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
        self._write("DELETE FROM storage_parts WHERE upload = ?", (upload,))
        return parts

    def multipart_uploads(self) -> list[tuple[str, float, str]]:
        """Return id, moment of creation and value of each unfinished upload in parts."""
        return self._run(
            "SELECT id, created, value FROM storage_sessions WHERE id >= ? AND id < ?"
            " AND result IS NULL",
            (MULTIPART_PREFIX, MULTIPART_PREFIX + _LAST),
        ).fetchall()

    def drop_sessions(self, *, before: float) -> None:
        self._write("DELETE FROM storage_sessions WHERE created < ?", (before,))
        self._write(
            "DELETE FROM storage_parts WHERE upload NOT IN (SELECT id FROM storage_sessions)"
        )

    def blobs(self) -> set[str]:
        """Return the names of all blobs that a row names."""
        rows = self._run(
            "SELECT blob FROM storage_objects"
            " UNION SELECT blob FROM storage_soft_deleted"
            " UNION SELECT id FROM storage_sessions WHERE result IS NULL"
            " UNION SELECT blob FROM storage_parts"
        )
        return {blob for (blob,) in rows}

    def _record(self, text: str) -> ObjectRecord:
        return self._records.get(text) or self._remember(text, ObjectRecord.load(text))

    def _remember(self, text: str, record: ObjectRecord) -> ObjectRecord:
        if len(self._records) >= _MOST_RECORDS:
            self._records.clear()
        self._records[text] = record
        return record

    def _keep_live(self, record: ObjectRecord) -> ObjectRecord:
        if len(self._live) >= _MOST_RECORDS:
            self._forget_live()
        self._live[record.bucket, record.name] = record
        return record

    def _end_live(self, item: ObjectRecord) -> None:
        """Forget an object if it is the live one of its name, and no earlier generation."""
        key = item.bucket, item.name
        if (known := self._live.get(key)) and known.generation == item.generation:
            del self._live[key]

    def _forget_live(self) -> None:
        self._live.clear()
        self._whole.clear()

    def _one(self, sql: str, *values: Any) -> Any:
        return self._run(sql, values).fetchone()
