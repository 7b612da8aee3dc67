"""The tables of Cloud Storage: buckets, objects, upload sessions and the last generation."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from devenv.gcp.storage.model import Bucket, Object
from devenv.gcp.store import Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS storage_buckets (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS storage_objects (
    bucket TEXT, name TEXT, generation INTEGER, live INTEGER, blob TEXT, value TEXT,
    PRIMARY KEY (bucket, name, generation)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS storage_sessions (
    id TEXT PRIMARY KEY, created REAL, value TEXT, result TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS storage_generation (id INTEGER PRIMARY KEY, last INTEGER);
INSERT OR IGNORE INTO storage_generation VALUES (1, 0);
"""
_LAST = "\U0010ffff"


class Catalogue:
    """Rows in, rows out; no rule of Cloud Storage is here."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._run = store.connection.execute
        store.connection.executescript(_SCHEMA)

    def transaction(self) -> AbstractContextManager[None]:
        return self._store.transaction()

    def bucket(self, name: str) -> Bucket | None:
        row = self._one("SELECT value FROM storage_buckets WHERE name = ?", name)
        return Bucket.load(row[0]) if row else None

    def has_bucket(self, name: str) -> bool:
        return self._one("SELECT 1 FROM storage_buckets WHERE name = ?", name) is not None

    def buckets(self, *, start: str, prefix: str, limit: int) -> list[Bucket]:
        rows = self._run(
            "SELECT value FROM storage_buckets WHERE name >= ? AND name < ? ORDER BY name LIMIT ?",
            (max(start, prefix), prefix + _LAST, limit),
        )
        return [Bucket.load(value) for (value,) in rows]

    def save_bucket(self, bucket: Bucket) -> None:
        self._run(
            "INSERT OR REPLACE INTO storage_buckets VALUES (?, ?)", (bucket.name, bucket.dump())
        )

    def drop_bucket(self, name: str) -> None:
        self._run("DELETE FROM storage_buckets WHERE name = ?", (name,))

    def empty(self, bucket: str) -> bool:
        return self._one("SELECT 1 FROM storage_objects WHERE bucket = ? LIMIT 1", bucket) is None

    def live(self, bucket: str, name: str) -> Object | None:
        row = self._one(
            "SELECT value FROM storage_objects WHERE bucket = ? AND name = ? AND live = 1",
            bucket,
            name,
        )
        return Object.load(row[0]) if row else None

    def object(self, bucket: str, name: str, generation: int) -> Object | None:
        row = self._one(
            "SELECT value FROM storage_objects WHERE bucket = ? AND name = ? AND generation = ?",
            bucket,
            name,
            generation,
        )
        return Object.load(row[0]) if row else None

    def scan(self, bucket: str, *, start: str, end: str, versions: bool) -> Iterator[Object]:
        """Yield the objects with `start` <= name < `end` in the order of their names' bytes."""
        rows = self._run(
            "SELECT value FROM storage_objects WHERE bucket = ? AND name >= ? AND name < ?"
            " AND live >= ? ORDER BY name, generation",
            (bucket, start, end or _LAST, 0 if versions else 1),
        )
        for (value,) in rows:
            yield Object.load(value)

    def save(self, item: Object) -> None:
        """Write `item`, as the live object of its name unless it is deleted."""
        live = 0 if item.deleted else 1
        self._run(
            "INSERT OR REPLACE INTO storage_objects VALUES (?, ?, ?, ?, ?, ?)",
            (item.bucket, item.name, item.generation, live, item.content.blob, item.dump()),
        )

    def drop(self, item: Object) -> None:
        self._run(
            "DELETE FROM storage_objects WHERE bucket = ? AND name = ? AND generation = ?",
            (item.bucket, item.name, item.generation),
        )

    def next_generation(self, at_least: int) -> int:
        """Return a number above all that were returned before, in this process or another."""
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

    def session(self, session_id: str) -> tuple[str, Object | None] | None:
        """Return the session's value and, once it is finished, the object that came of it."""
        row = self._one("SELECT value, result FROM storage_sessions WHERE id = ?", session_id)
        return (row[0], Object.load(row[1]) if row[1] else None) if row else None

    def finish_session(self, session_id: str, result: Object) -> None:
        self._run(
            "UPDATE storage_sessions SET result = ? WHERE id = ?", (result.dump(), session_id)
        )

    def drop_session(self, session_id: str) -> None:
        self._run("DELETE FROM storage_sessions WHERE id = ?", (session_id,))

    def drop_sessions(self, *, before: float) -> None:
        self._run("DELETE FROM storage_sessions WHERE created < ?", (before,))

    def blobs(self) -> set[str]:
        """Return the names of all files that something still needs."""
        rows = self._run(
            "SELECT blob FROM storage_objects"
            " UNION SELECT id FROM storage_sessions WHERE result IS NULL"
        )
        return {blob for (blob,) in rows}

    def _one(self, sql: str, *values: Any) -> Any:
        return self._run(sql, values).fetchone()
