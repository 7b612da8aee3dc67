"""Log entries on disk: ordered by time, bounded by count, bytes and age, and told to those who wait."""

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.logging.entries import RETENTION
from devenv.gcp.logging.entry_view import EntryTest, EntryView, LogEntry
from devenv.gcp.logging.fields import nanoseconds
from devenv.gcp.store import Store

MOST_ENTRIES = 50_000
MOST_BYTES = 64 << 20  # of all entries together
_PIECE = 100  # entries that are read at once, of at most 256 KiB each
_SLICE, _SLICE_BYTES = 50, 64 << 10  # of them, tested before other calls have their turn

# The log buckets of the project that keep an entry; a bucket of one's own has entries of DEFAULT only.
IN_DEFAULT, IN_REQUIRED = 1, 2
IN_BUCKETS = IN_DEFAULT | IN_REQUIRED
# No bucket keeps it, but a sink has to carry it.
TO_EXPORT = 4

# It is told new entries, each with the buckets that keep it.
Listener: TypeAlias = Callable[[list[tuple[Any, int]]], object]
Route: TypeAlias = Callable[[EntryView], int]
_Position: TypeAlias = tuple[int, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryQuery:
    """A page of entries; `of` is the filter, so that a page token fits no other query.

    Entries that were written after the position `upto` are left out, none if it is None; so are those
    that none of the buckets `kept` has.
    """

    test: EntryTest
    descending: bool
    size: int
    token: str
    of: str
    upto: int | None = None
    kept: int = IN_BUCKETS


class LogStore:
    """The entries of one project, or those of one log bucket in a table of its own.

    `retention` is in seconds. `route` tells which buckets keep an entry, 0 for one that is dropped.
    """

    def __init__(
        self,
        store: Store,
        *,
        table: str = "log_entries",
        most_entries: int = MOST_ENTRIES,
        most_bytes: int = MOST_BYTES,
        retention: float = RETENTION,
        route: Route = lambda _entry: IN_DEFAULT,
    ) -> None:
        self._store = store
        self._connection = store.connection
        self._table, self.retention = table, retention
        self._most_entries, self._most_bytes = most_entries, most_bytes
        self.route = route
        self.listeners: set[Listener] = set()
        self._make_table()
        self._measure()
        # SQLite gives the positions of deleted entries again, which those who follow have read.
        self._numbers = count(self.position() + 1)

    def add(self, entries: Iterable[Any], *, now: float) -> None:
        """Keep entries; of those with the same log, time and insert id only the first is kept."""
        added, shown = False, []
        with self._store.transaction(self._measure):
            for entry in entries:
                kept = self.route(EntryView(entry))
                if not kept:
                    continue
                value = entry.SerializeToString()
                row = (
                    next(self._numbers),
                    entry.log_name,
                    nanoseconds(entry.timestamp),
                    entry.insert_id,
                    len(value),
                    value,
                    kept,
                )
                sql = (
                    f"INSERT OR IGNORE INTO {self._table}"  # noqa: S608 - our own words
                    " (seq, log, time, insert_id, bytes, value, kept) VALUES (?, ?, ?, ?, ?, ?, ?)"
                )
                if self._connection.execute(sql, row).rowcount:
                    added = True
                    if kept & IN_BUCKETS:
                        shown.append((entry, kept))
                    self._count += 1
                    self._bytes += len(value)
            self.prune(now)
        if added:
            for listener in list(self.listeners):
                listener(shown)

    async def find(self, query: EntryQuery) -> tuple[list[Any], str]:
        """Return a page of entries and the token of the next. Raises InvalidArgument."""
        position = _position_of(query)
        chosen: list[Any] = []
        last = position
        while rows := self._piece(position, query):
            tested = size = 0
            for seq, time, insert_id, value in rows:
                tested, size = tested + 1, size + len(value)
                if tested > _SLICE or size > _SLICE_BYTES:
                    await asyncio.sleep(0)
                    tested, size = 1, len(value)
                position = (time, insert_id, seq)
                if query.upto is not None and seq > query.upto:
                    continue
                view = EntryView(value=value)
                if not query.test(view):
                    continue
                if len(chosen) == query.size:
                    return chosen, _token_of(query, last)
                chosen.append(view.entry)
                last = position
            await asyncio.sleep(0)
        return chosen, ""

    def position(self) -> int:
        """Return the position of the entry that was written last, 0 without any."""
        sql = f"SELECT COALESCE(MAX(seq), 0) FROM {self._table}"  # noqa: S608 - our own words
        return int(self._connection.execute(sql).fetchone()[0])

    def written_after(
        self, position: int, test: EntryTest, *, kept: int = IN_BUCKETS
    ) -> tuple[list[Any], int]:
        """Return the matching ones of the next entries, at most 50, and the position of the last."""
        # Positions begin again at a lower one after the deletion of the last entries.
        position = min(position, self.position())
        sql = f"SELECT seq, value, kept FROM {self._table} WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
        rows = self._connection.execute(sql, (position, _SLICE)).fetchall()
        views = [EntryView(value=value) for _, value, buckets in rows if buckets & kept]
        matching = [view.entry for view in views if test(view)]
        return matching, rows[-1][0] if rows else position

    def logs(self, kept: int = IN_BUCKETS) -> list[str]:
        """Return the names of all logs that have entries."""
        sql = f"SELECT DISTINCT log FROM {self._table} WHERE kept & ? ORDER BY log"  # noqa: S608
        rows = self._connection.execute(sql, (kept,))
        return [row[0] for row in rows]

    def delete(self, log: str) -> bool:
        """Delete all entries of a log; return whether there were any."""
        return self._delete("log = ?", log) > 0

    def _make_table(self) -> None:
        table, execute = self._table, self._connection.execute
        execute(
            f"CREATE TABLE IF NOT EXISTS {table} (seq INTEGER PRIMARY KEY, log TEXT, time INTEGER,"
            " insert_id TEXT, bytes INTEGER, value BLOB, kept INTEGER NOT NULL,"
            " UNIQUE (time, insert_id, log))"
        )
        execute(f"CREATE INDEX IF NOT EXISTS {table}_log ON {table} (log)")
        if all(row[1] != "kept" for row in execute(f"PRAGMA table_info({table})")):
            # A table of an older version: the buckets of its entries depend on their logs alone.
            added = f"ALTER TABLE {table} ADD COLUMN kept INTEGER NOT NULL DEFAULT {IN_DEFAULT}"
            execute(added)
            with self._store.transaction():
                for log in self.logs():
                    kept = self.route(EntryView(LogEntry(log_name=log)))
                    sql = f"UPDATE {table} SET kept = ? WHERE log = ?"  # noqa: S608 - our own words
                    execute(sql, (kept, log))

    def _measure(self) -> None:
        counted = f"SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM {self._table}"  # noqa: S608
        self._count, self._bytes = self._connection.execute(counted).fetchone()

    def _piece(self, after: _Position | None, query: EntryQuery) -> list[tuple[Any, ...]]:
        sign, order = ("<", "DESC") if query.descending else (">", "ASC")
        where = f"AND (time, insert_id, seq) {sign} (?, ?, ?)" if after else ""
        sql = (
            f"SELECT seq, time, insert_id, value FROM {self._table} WHERE kept & ? {where}"  # noqa: S608
            f" ORDER BY time {order}, insert_id {order}, seq {order} LIMIT {_PIECE}"
        )
        return self._connection.execute(sql, (query.kept, *(after or ()))).fetchall()

    def prune(self, now: float) -> None:
        """Delete entries that are too old, and the oldest of too many."""
        self._delete("time < ?", int((now - self.retention) * 1e9))
        while self._count > self._most_entries or self._bytes > self._most_bytes:
            some = max(self._count - self._most_entries, self._count // 100, 1)
            oldest = f"SELECT seq FROM {self._table} ORDER BY time, insert_id LIMIT ?"  # noqa: S608
            if not self._delete(f"seq IN ({oldest})", some):
                return

    def _delete(self, where: str, *values: Any) -> int:
        sql = f"DELETE FROM {self._table} WHERE {where} RETURNING bytes"  # noqa: S608 - our own words
        rows = self._connection.execute(sql, values).fetchall()
        self._count -= len(rows)
        self._bytes -= sum(row[0] for row in rows)
        return len(rows)


def _digest(query: EntryQuery) -> str:
    text = f"{query.of}\n{query.descending}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _token_of(query: EntryQuery, position: _Position | None) -> str:
    time, insert_id, seq = position or (0, "", 0)
    return base64.urlsafe_b64encode(f"{_digest(query)} {time} {seq} {insert_id}".encode()).decode()


def _position_of(query: EntryQuery) -> _Position | None:
    if not query.token:
        return None
    try:
        text = base64.urlsafe_b64decode(query.token).decode()
        digest, time, seq, insert_id = text.split(" ", 3)
        position = (int(time), insert_id, int(seq))
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(
            "page_token is not valid; use the next_page_token of a page."
        ) from error
    if digest != _digest(query):
        raise InvalidArgument("page_token doesn't match arguments from the request.")
    return position
