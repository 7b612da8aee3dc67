"""Received mails, newest first, in an SQLite file of bounded size."""

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devenv.mail.message import Message

MOST_MAILS = 500
MOST_BYTES = 200 * 1024 * 1024

_SCHEMA = """
CREATE TABLE IF NOT EXISTS mail (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    received REAL NOT NULL,
    sender TEXT NOT NULL,
    recipients TEXT NOT NULL,
    raw BLOB NOT NULL,
    read INTEGER NOT NULL DEFAULT 0
)
"""
_TRIM = """
DELETE FROM mail WHERE place IN (
    SELECT place FROM (
        SELECT place, row_number() OVER newest AS number, sum(length(raw)) OVER newest AS bytes
        FROM mail WINDOW newest AS (ORDER BY place DESC)
    ) WHERE number > 1 AND (number > ? OR bytes > ?)
)
"""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail and its envelope, whose sender and recipients may differ from the headers."""

    id: str
    received: float
    sender: str
    recipients: tuple[str, ...]
    read: bool
    message: Message


class Mailbox:
    """All mails, for all recipients; they survive restarts when `path` is a file."""

    def __init__(self, path: Path | str = ":memory:", *, most: int = MOST_MAILS) -> None:
        self._most = most
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(_SCHEMA)
        self._listeners: set[asyncio.Event] = set()

    def add(self, raw: bytes, *, sender: str, recipients: Sequence[str]) -> str:
        """Store a mail and return its id; the oldest mails are dropped when there are too many."""
        name = secrets.token_urlsafe(16).replace("-", "x").replace("_", "y")
        self._db.execute(
            "INSERT INTO mail (id, received, sender, recipients, raw) VALUES (?, ?, ?, ?, ?)",
            (name, time.time(), sender, "\n".join(recipients), raw),
        )
        self._db.execute(_TRIM, (self._most, MOST_BYTES))
        self._tell()
        return name

    def newest(self, *, start: int = 0, limit: int = 50) -> list[Mail]:
        rows = self._db.execute(
            "SELECT id, received, sender, recipients, read, raw FROM mail"
            " ORDER BY place DESC LIMIT ? OFFSET ?",
            (limit, start),
        )
        return [_mail(row) for row in rows]

    def get(self, name: str) -> Mail | None:
        """Return one mail; `latest` is the newest one, as in Mailpit."""
        if name == "latest":
            return next(iter(self.newest(limit=1)), None)
        row = self._db.execute(
            "SELECT id, received, sender, recipients, read, raw FROM mail WHERE id = ?", (name,)
        ).fetchone()
        return _mail(row) if row else None

    def mark_read(self, name: str) -> None:
        changed = self._db.execute("UPDATE mail SET read = 1 WHERE id = ? AND NOT read", (name,))
        if changed.rowcount:
            self._tell()

    def delete(self, names: Sequence[str] = ()) -> None:
        """Delete these mails, or all when none is named."""
        if names:
            self._db.executemany("DELETE FROM mail WHERE id = ?", [(name,) for name in names])
        else:
            self._db.execute("DELETE FROM mail")
        self._tell()

    def counts(self) -> tuple[int, int]:
        """Return the number of mails and of unread mails."""
        row = self._db.execute("SELECT count(*), count(*) FILTER (WHERE NOT read) FROM mail")
        total, unread = row.fetchone()
        return total, unread

    def listen(self) -> asyncio.Event:
        """Return an event that is set whenever something changed."""
        event = asyncio.Event()
        self._listeners.add(event)
        return event

    def forget(self, event: asyncio.Event) -> None:
        self._listeners.discard(event)

    def close(self) -> None:
        self._db.close()

    def _tell(self) -> None:
        for event in self._listeners:
            event.set()


def _mail(row: tuple[str, float, str, str, int, bytes]) -> Mail:
    name, received, sender, recipients, read, raw = row
    return Mail(name, received, sender, tuple(recipients.split("\n")), bool(read), Message(raw))
