"""Received mails, newest first, in an SQLite file of bounded size.

They are parsed leniently: any bytes that arrive can be listed and shown.
"""

import asyncio
import hashlib
import secrets
import sqlite3
import time
from binascii import Error as Base64Error
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message as Parsed
from email.utils import getaddresses, parsedate_to_datetime
from functools import cached_property
from html import unescape
from pathlib import Path
from re import compile as pattern

_SNIPPET = 250
_TAGS = pattern(r"(?is)<(style|script|title)\b.*?</\1\s*>|<[^>]*>")
_SPACE = pattern(r"\s+")


@dataclass(frozen=True, slots=True)
class MailPart:
    """A leaf part of a mail; `number` is its position among the leaves, from 1."""

    number: int
    content_type: str
    filename: str
    content_id: str
    disposition: str
    charset: str
    content: bytes

    @property
    def is_body(self) -> bool:
        return self.disposition != "attachment" and not self.filename

    def text(self) -> str:
        try:
            return self.content.decode(self.charset, "replace")
        except LookupError:
            return self.content.decode("utf-8", "replace")

    def checksums(self) -> dict[str, str]:
        return {
            "MD5": hashlib.md5(self.content, usedforsecurity=False).hexdigest(),
            "SHA1": hashlib.sha1(self.content, usedforsecurity=False).hexdigest(),
            "SHA256": hashlib.sha256(self.content).hexdigest(),
        }


class Message:
    """A mail, parsed when a property is first read."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    @cached_property
    def _parsed(self) -> "Parsed[str, str]":
        try:
            return message_from_bytes(self.raw)
        except RecursionError:  # thousands of multiparts in each other: shown as it came
            opaque = Parsed()
            opaque.set_payload(self.raw.decode("utf-8", "replace"))
            return opaque

    @cached_property
    def parts(self) -> tuple[MailPart, ...]:
        leaves = (part for part in _walk(self._parsed) if not part.is_multipart())
        return tuple(_part(number, leaf) for number, leaf in enumerate(leaves, start=1))

    @property
    def text(self) -> str:
        return self._body("text/plain")

    @property
    def html(self) -> str:
        return self._body("text/html")

    @property
    def snippet(self) -> str:
        text = self.text or unescape(_TAGS.sub(" ", self.html))
        return _SPACE.sub(" ", text).strip()[:_SNIPPET]

    @property
    def inline(self) -> tuple[MailPart, ...]:
        return tuple(part for part in self._files() if part.content_id)

    @property
    def attachments(self) -> tuple[MailPart, ...]:
        return tuple(part for part in self._files() if not part.content_id)

    def header(self, name: str) -> str:
        return decoded(str(self._parsed.get(name, "")))

    def headers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in self._parsed.items():
            found.setdefault(name.title(), []).append(decoded(str(value)))
        return found

    def addresses(self, name: str) -> list[dict[str, str]]:
        values = [str(value) for value in self._parsed.get_all(name, [])]
        return [
            {"Name": decoded(title), "Address": address}
            for title, address in getaddresses(values)
            if address
        ]

    def date(self) -> str:
        """Return the Date header in ISO format, "" if there is none that can be parsed."""
        try:
            return parsedate_to_datetime(self.header("Date")).isoformat()
        except (ValueError, TypeError, OverflowError):
            return ""

    def _body(self, content_type: str) -> str:
        bodies = (part for part in self.parts if part.is_body)
        return "\n".join(part.text() for part in bodies if part.content_type == content_type)

    def _files(self) -> Iterator[MailPart]:
        shown = ("text/plain", "text/html")
        for part in self.parts:
            if not (part.is_body and part.content_type in shown):
                yield part


def decoded(value: str) -> str:
    """Return a decoded header, unchanged if its encoding is broken."""
    try:
        return _SPACE.sub(" ", str(make_header(decode_header(value))))
    except (HeaderParseError, Base64Error, LookupError, ValueError):
        return value


def _walk(parsed: "Parsed[str, str]") -> Iterator["Parsed[str, str]"]:
    """Yield every part without recursion: the sender decides how deep they are nested."""
    waiting = [parsed]
    while waiting:
        part = waiting.pop()
        yield part
        if part.is_multipart():
            waiting.extend(reversed([sub for sub in part.get_payload() if isinstance(sub, Parsed)]))


def _part(number: int, leaf: "Parsed[str, str]") -> MailPart:
    content = leaf.get_payload(decode=True)
    return MailPart(
        number=number,
        content_type=leaf.get_content_type(),
        filename=decoded(leaf.get_filename() or ""),
        content_id=str(leaf.get("Content-ID", "")).strip("<> "),
        disposition=leaf.get_content_disposition() or "",
        charset=str(leaf.get_content_charset() or "utf-8"),
        content=content if isinstance(content, bytes) else b"",
    )


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
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(_SCHEMA)
        self._listeners: set[asyncio.Event] = set()

    @property
    def connection(self) -> sqlite3.Connection:
        """The file of the mails, for other messages of the same catcher."""
        return self._db

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
